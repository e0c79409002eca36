//! Creating, growing and deleting topics, and deleting records.

use super::produce::log_error;
use super::{NODE, text};
use crate::broker::Shared;
use crate::settings::TopicSettings;
use crate::topics::TopicError;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteRecordsRequest, DeleteRecordsResponse, DeleteTopicsRequest, DeleteTopicsResponse,
};
use kafka_protocol::protocol::StrBytes;

/// An error code, and what it is about.
type Refusal = (ResponseError, String);

pub(super) fn create(
    request: CreateTopicsRequest,
    version: i16,
    shared: &Shared,
) -> CreateTopicsResponse {
    let dry = request.validate_only;
    let results = request.topics.into_iter().map(|topic| {
        let created = create_one(&topic, dry, shared);
        let result = CreatableTopicResult::default().with_name(topic.name);
        let (error, message) = code_and_message(&created);
        let result = result.with_error_code(error).with_error_message(message);
        match created {
            Ok(partitions) if version >= 5 => {
                result.with_num_partitions(partitions as i32).with_replication_factor(1)
            }
            _ => result,
        }
    });
    CreateTopicsResponse::default().with_topics(results.collect())
}

/// Returns the number of partitions.
fn create_one(topic: &CreatableTopic, dry: bool, shared: &Shared) -> Result<u32, Refusal> {
    let partitions = partitions(topic, shared.config.default_partitions)?;
    let mut settings = TopicSettings::default();
    for config in &topic.configs {
        settings
            .set(&config.name, config.value.as_deref())
            .map_err(|fault| (ResponseError::InvalidConfig, fault.to_string()))?;
    }
    shared.topics.create(&topic.name, partitions, settings, dry).map_err(refusal)?;
    if !dry {
        tracing::info!(topic = %topic.name.as_str(), partitions, "created a topic");
    }
    Ok(partitions)
}

fn partitions(topic: &CreatableTopic, default_partitions: u32) -> Result<u32, Refusal> {
    if !topic.assignments.is_empty() {
        let here = topic.assignments.iter().all(|entry| entry.broker_ids == [NODE]);
        let mut indexes: Vec<i32> =
            topic.assignments.iter().map(|entry| entry.partition_index).collect();
        indexes.sort_unstable();
        let dense = (0..).zip(&indexes).all(|(expected, index)| expected == *index);
        let message = format!("the only node is {}, and partitions count from 0", NODE.0);
        return match here && dense {
            true => Ok(indexes.len() as u32),
            false => Err((ResponseError::InvalidReplicaAssignment, message)),
        };
    }
    if !matches!(topic.replication_factor, 1 | -1) {
        let message = "this is a single node: the replication factor is 1".to_owned();
        return Err((ResponseError::InvalidReplicationFactor, message));
    }
    match topic.num_partitions {
        -1 => Ok(default_partitions),
        count => u32::try_from(count).map_err(|_| refusal(TopicError::Partitions)),
    }
}

pub(super) fn delete(
    request: DeleteTopicsRequest,
    version: i16,
    shared: &Shared,
) -> DeleteTopicsResponse {
    let results = request.topic_names.into_iter().map(|name| {
        let deleted = delete_one(&name, shared);
        let (error, message) = code_and_message(&deleted);
        let message = if version >= 5 { message } else { None };
        let result = DeletableTopicResult::default().with_name(Some(name));
        result.with_error_code(error).with_error_message(message)
    });
    DeleteTopicsResponse::default().with_responses(results.collect())
}

fn delete_one(name: &str, shared: &Shared) -> Result<(), Refusal> {
    shared.topics.delete(name).map_err(refusal)?;
    tracing::info!(topic = name, "deleted a topic");
    // Whoever waits for records of it is to learn that it is gone.
    shared.arrivals.announce();
    shared.groups.forget_topic(name).map_err(|error| refusal(TopicError::Storage(error)))
}

pub(super) fn grow(request: CreatePartitionsRequest, shared: &Shared) -> CreatePartitionsResponse {
    let dry = request.validate_only;
    let results = request.topics.into_iter().map(|topic| {
        let grown = grow_one(&topic, dry, shared);
        let (error, message) = code_and_message(&grown);
        let result = CreatePartitionsTopicResult::default().with_name(topic.name);
        result.with_error_code(error).with_error_message(message)
    });
    CreatePartitionsResponse::default().with_results(results.collect())
}

fn grow_one(topic: &CreatePartitionsTopic, dry: bool, shared: &Shared) -> Result<(), Refusal> {
    let assigned = topic.assignments.iter().flatten();
    if assigned.clone().any(|assignment| assignment.broker_ids != [NODE]) {
        let message = format!("the only node is {}", NODE.0);
        return Err((ResponseError::InvalidReplicaAssignment, message));
    }
    let count = u32::try_from(topic.count).map_err(|_| refusal(TopicError::Partitions))?;
    shared.topics.grow(&topic.name, count, dry).map_err(refusal)
}

pub(super) fn delete_records(
    request: DeleteRecordsRequest,
    shared: &Shared,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let deleted = delete_before(&topic.name, wanted, shared);
            let (error, start_offset) = match deleted {
                Ok(start_offset) => (0, start_offset),
                Err(error) => (error.code(), -1),
            };
            DeleteRecordsPartitionResult::default()
                .with_partition_index(wanted.partition_index)
                .with_low_watermark(start_offset)
                .with_error_code(error)
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn delete_before(
    topic: &str,
    wanted: &DeleteRecordsPartition,
    shared: &Shared,
) -> Result<i64, ResponseError> {
    const TO_THE_END: i64 = -1;
    let partition = shared.topics.partition(topic, wanted.partition_index);
    let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
    let mut log = partition.log();
    let offset = if wanted.offset == TO_THE_END { log.end_offset() } else { wanted.offset };
    log.delete_before(offset).map_err(|error| {
        tracing::warn!(topic, partition = partition.index, %error, "cannot delete records");
        log_error(&error)
    })
}

fn code_and_message<T>(result: &Result<T, Refusal>) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (0, None),
        Err((error, message)) => (error.code(), Some(text(message.as_str()))),
    }
}

pub(super) fn refusal(error: TopicError) -> Refusal {
    let code = match &error {
        TopicError::Name => ResponseError::InvalidTopicException,
        TopicError::Exists => ResponseError::TopicAlreadyExists,
        TopicError::Unknown => ResponseError::UnknownTopicOrPartition,
        TopicError::Partitions => ResponseError::InvalidPartitions,
        TopicError::TooMany => ResponseError::PolicyViolation,
        TopicError::Setting(_) => ResponseError::InvalidConfig,
        TopicError::Storage(error) => {
            tracing::error!(%error, "cannot change a topic");
            ResponseError::KafkaStorageError
        }
    };
    (code, error.to_string())
}

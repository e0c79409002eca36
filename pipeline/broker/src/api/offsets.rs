//! Committed offsets.

use super::groups::group_error;
use super::{text, topic_name};
use crate::broker::Shared;
use crate::groups::{Claim, CommitFault, Committed};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartition, OffsetFetchResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use std::collections::BTreeMap;

pub(super) fn commit(request: OffsetCommitRequest, shared: &Shared) -> OffsetCommitResponse {
    let claim = Claim {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id_or_member_epoch,
    };
    let mut offsets = Vec::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    // Where in `topics` the results belong that come back in the order of `offsets`.
    let mut places = Vec::new();
    for topic in request.topics {
        let mut answers = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let exists = shared.topics.partition(&topic.name, index).is_some();
            let sound = exists && partition.committed_offset >= 0;
            let answer = OffsetCommitResponsePartition::default().with_partition_index(index);
            if sound {
                places.push((topics.len(), answers.len()));
                let committed = Committed {
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.unwrap_or_default().to_string(),
                };
                offsets.push((topic.name.to_string(), index, committed));
            }
            let error = match (exists, sound) {
                (_, true) => 0,
                (true, false) => ResponseError::InvalidRequest.code(),
                (false, _) => ResponseError::UnknownTopicOrPartition.code(),
            };
            answers.push(answer.with_error_code(error));
        }
        let answered = OffsetCommitResponseTopic::default().with_name(topic.name);
        topics.push(answered.with_partitions(answers));
    }
    let results = shared.groups.commit(&request.group_id, claim, offsets);
    for ((topic, partition), result) in places.into_iter().zip(results) {
        if let Err(fault) = result {
            topics[topic].partitions[partition].error_code = commit_error(fault).code();
        }
    }
    OffsetCommitResponse::default().with_topics(topics)
}

fn commit_error(fault: CommitFault) -> ResponseError {
    match fault {
        CommitFault::Group(fault) => group_error(fault),
        CommitFault::MetadataTooLarge => ResponseError::OffsetMetadataTooLarge,
    }
}

pub(super) fn fetch(
    request: OffsetFetchRequest,
    version: i16,
    shared: &Shared,
) -> OffsetFetchResponse {
    let group = &request.group_id;
    let topics = match request.topics {
        Some(wanted) => {
            let of_topic = wanted.into_iter().map(|topic| {
                let partitions = topic.partition_indexes.iter().map(|index| {
                    let committed = shared.groups.committed(group, &topic.name, *index);
                    fetched(*index, committed, version)
                });
                let partitions = partitions.collect();
                let answer = OffsetFetchResponseTopic::default().with_name(topic.name.clone());
                answer.with_partitions(partitions)
            });
            of_topic.collect()
        }
        None => all(group, version, shared),
    };
    OffsetFetchResponse::default().with_topics(topics)
}

/// Everything that a group has committed.
fn all(group: &str, version: i16, shared: &Shared) -> Vec<OffsetFetchResponseTopic> {
    let mut by_topic = BTreeMap::<String, Vec<OffsetFetchResponsePartition>>::new();
    for (topic, partition, committed) in shared.groups.all_committed(group) {
        by_topic.entry(topic).or_default().push(fetched(partition, Some(committed), version));
    }
    let answers = by_topic.into_iter().map(|(topic, partitions)| {
        let answer = OffsetFetchResponseTopic::default().with_name(topic_name(&topic));
        answer.with_partitions(partitions)
    });
    answers.collect()
}

fn fetched(
    partition: i32,
    committed: Option<Committed>,
    version: i16,
) -> OffsetFetchResponsePartition {
    let none = Committed { offset: -1, leader_epoch: -1, metadata: String::new() };
    let committed = committed.unwrap_or(none);
    let answer = OffsetFetchResponsePartition::default()
        .with_partition_index(partition)
        .with_committed_offset(committed.offset)
        .with_metadata(Some(text(committed.metadata)));
    if version >= 5 { answer.with_committed_leader_epoch(committed.leader_epoch) } else { answer }
}

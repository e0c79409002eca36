//! Appending batches, and numbers for the producers that send them.

use super::LEADER_EPOCH;
use crate::broker::Shared;
use crate::log::batch::{BatchFault, BatchHeader};
use crate::log::{LogError, SequenceFault};
use crate::topics::{Partition, Topic};
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProduceRequest, ProduceResponse, ProducerId,
};
use std::sync::PoisonError;

/// Stands for "unknown" in an offset.
const NO_OFFSET: i64 = -1;

pub(super) fn produce(request: ProduceRequest, shared: &Shared) -> ProduceResponse {
    let transactional = request.transactional_id.is_some();
    let mut appended = false;
    let responses = request.topic_data.into_iter().map(|data| {
        let topic = shared.topics.get(&data.name);
        append_to(topic.as_deref(), data, transactional, shared, &mut appended)
    });
    let response = ProduceResponse::default().with_responses(responses.collect());
    if appended {
        shared.arrivals.announce();
    }
    response
}

fn append_to(
    topic: Option<&Topic>,
    data: TopicProduceData,
    transactional: bool,
    shared: &Shared,
    appended: &mut bool,
) -> TopicProduceResponse {
    let mut responses = Vec::with_capacity(data.partition_data.len());
    for PartitionProduceData { index, records, .. } in data.partition_data {
        let partition = topic.and_then(|topic| topic.partition(index));
        let outcome = match (topic, partition) {
            _ if transactional => Err(ResponseError::TransactionalIdAuthorizationFailed),
            (Some(topic), Some(partition)) => append(topic, &partition, records, shared),
            _ => Err(ResponseError::UnknownTopicOrPartition),
        };
        *appended |= outcome.is_ok();
        let (error, base_offset, start_offset) = match outcome {
            Ok((base_offset, start_offset)) => (0, base_offset, start_offset),
            Err(error) => (error.code(), NO_OFFSET, NO_OFFSET),
        };
        let response = PartitionProduceResponse::default()
            .with_index(index)
            .with_error_code(error)
            .with_base_offset(base_offset)
            .with_log_append_time_ms(NO_OFFSET)
            .with_log_start_offset(start_offset);
        responses.push(response);
    }
    TopicProduceResponse::default().with_name(data.name).with_partition_responses(responses)
}

/// Appends one batch; returns its offset and the start of the log.
fn append(
    topic: &Topic,
    partition: &Partition,
    records: Option<Bytes>,
    shared: &Shared,
) -> Result<(i64, i64), ResponseError> {
    let records = records.unwrap_or_default();
    let settings = topic.settings();
    if records.len() as u64 > settings.message_bytes_max(&shared.config) {
        return Err(ResponseError::MessageTooLarge);
    }
    let header = BatchHeader::read_produced(&records).map_err(|fault| {
        tracing::warn!(topic = topic.name(), partition = partition.index, %fault, "refused a batch");
        batch_error(fault)
    })?;
    let mut batch = records.to_vec();
    let mut log = partition.log();
    let limits = settings.log_limits(&shared.config);
    let appended = log.append(&mut batch, &header, LEADER_EPOCH, &limits);
    let synced = match shared.config.fsync_interval.is_zero() {
        true => appended.and_then(|appended| log.sync().map(|()| appended)),
        false => appended,
    };
    let start_offset = log.start_offset();
    synced.map(|appended| (appended.base_offset, start_offset)).map_err(|error| {
        tracing::warn!(topic = topic.name(), partition = partition.index, %error, "not appended");
        log_error(&error)
    })
}

fn batch_error(fault: BatchFault) -> ResponseError {
    match fault {
        BatchFault::Incomplete | BatchFault::Checksum => ResponseError::CorruptMessage,
        BatchFault::Magic => ResponseError::UnsupportedForMessageFormat,
        BatchFault::Trailing | BatchFault::Impossible | BatchFault::Control => {
            ResponseError::InvalidRecord
        }
        BatchFault::Transactional => ResponseError::InvalidTxnState,
    }
}

pub(super) fn log_error(error: &LogError) -> ResponseError {
    match error {
        LogError::Sequence(SequenceFault::StaleEpoch) => ResponseError::InvalidProducerEpoch,
        LogError::Sequence(SequenceFault::Gap { .. }) => ResponseError::OutOfOrderSequenceNumber,
        LogError::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
        LogError::Storage(_) | LogError::Stopped => ResponseError::KafkaStorageError,
    }
}

/// A number for an idempotent producer; transactions are refused for good, so that a client does not
/// try again and again.
pub(super) fn init(request: InitProducerIdRequest, shared: &Shared) -> InitProducerIdResponse {
    let refused = |error: ResponseError| {
        InitProducerIdResponse::default()
            .with_error_code(error.code())
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    };
    if request.transactional_id.is_some() {
        return refused(ResponseError::TransactionalIdAuthorizationFailed);
    }
    match shared.producer_ids.lock().unwrap_or_else(PoisonError::into_inner).next() {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id)),
        Err(error) => {
            tracing::error!(%error, "cannot reserve numbers for producers");
            refused(ResponseError::KafkaStorageError)
        }
    }
}

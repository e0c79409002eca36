//! Reading: fetches that wait for data, and questions about offsets.

use super::LEADER_EPOCH;
use super::produce::log_error;
use crate::broker::Shared;
use crate::log::LogError;
use crate::topics::Partition;
use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Kafka's `fetch.max.bytes` of the broker: what one answer may hold in memory.
const FETCH_BYTES_MAX: usize = 55 << 20;
/// The longest that a fetch waits, whatever the client says.
const FETCH_WAIT_MAX: Duration = Duration::from_secs(60);
const READ_COMMITTED: i8 = 1;

pub(super) fn fetch(request: FetchRequest, shared: &Shared) -> FetchResponse {
    if request.session_id != 0 {
        // No sessions are kept: each fetch names all that it wants.
        let error = ResponseError::FetchSessionIdNotFound.code();
        return FetchResponse::default().with_error_code(error);
    }
    let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
    let deadline = Instant::now() + wait.min(FETCH_WAIT_MAX);
    // What cannot be answered at once is not waited for either.
    let bytes_min = u64::try_from(request.min_bytes.min(request.max_bytes)).unwrap_or(0);
    loop {
        let seen = shared.arrivals.count();
        let (bytes, failed) = available(&request.topics, shared);
        let waits = bytes < bytes_min && !failed && !shared.is_stopping();
        if !waits || !shared.arrivals.wait(seen, deadline) {
            break;
        }
    }
    let mut left = usize::try_from(request.max_bytes).unwrap_or(0).min(FETCH_BYTES_MAX);
    let mut nothing_yet = true;
    let committed = request.isolation_level == READ_COMMITTED;
    let mut responses = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let partition = shared.topics.partition(&topic.topic, wanted.partition);
            let mut data = read(partition, wanted, left, nothing_yet);
            let bytes = data.records.as_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(bytes);
            nothing_yet &= bytes == 0;
            if committed {
                data.aborted_transactions = Some(Vec::new());
            }
            partitions.push(data);
        }
        let response = FetchableTopicResponse::default().with_topic(topic.topic);
        responses.push(response.with_partitions(partitions));
    }
    FetchResponse::default().with_responses(responses)
}

/// Bytes that can be read at once, and whether any partition is to be answered with an error.
fn available(topics: &[FetchTopic], shared: &Shared) -> (u64, bool) {
    let mut bytes = 0;
    for topic in topics {
        for wanted in &topic.partitions {
            let partition = shared.topics.partition(&topic.topic, wanted.partition);
            let Some(partition) = partition else { return (bytes, true) };
            let Ok(of_partition) = partition.log().bytes_from(wanted.fetch_offset) else {
                return (bytes, true);
            };
            bytes += of_partition.min(u64::try_from(wanted.partition_max_bytes).unwrap_or(0));
        }
    }
    (bytes, false)
}

/// Whole batches of one partition, at most `left` bytes, or one batch if there is `nothing_yet`.
fn read(
    partition: Option<Arc<Partition>>,
    wanted: &FetchPartition,
    left: usize,
    nothing_yet: bool,
) -> PartitionData {
    let data = PartitionData::default().with_partition_index(wanted.partition);
    // Empty, as Kafka answers it: librdkafka takes an answer without records for a broken one, and asks again.
    let refused = |error: ResponseError| {
        data.clone()
            .with_error_code(error.code())
            .with_high_watermark(-1)
            .with_records(Some(Bytes::new()))
    };
    let Some(partition) = partition else {
        return refused(ResponseError::UnknownTopicOrPartition);
    };
    if let Err(error) = check_epoch(wanted.current_leader_epoch) {
        return refused(error);
    }
    let (slice, start_offset, end_offset) = {
        let log = partition.log();
        (log.slice(wanted.fetch_offset), log.start_offset(), log.end_offset())
    };
    let bytes_max = left.min(usize::try_from(wanted.partition_max_bytes).unwrap_or(0));
    // Outside the lock: what is located stays readable.
    let records = slice.and_then(|slice| match slice {
        Some(slice) => slice.read(bytes_max, nothing_yet).map_err(LogError::Storage),
        None => Ok(Vec::new()),
    });
    match records {
        Ok(records) => data
            .with_high_watermark(end_offset)
            .with_last_stable_offset(end_offset)
            .with_log_start_offset(start_offset)
            .with_records(Some(records.into())),
        Err(error) => {
            if !matches!(error, LogError::OutOfRange { .. }) {
                tracing::error!(partition = wanted.partition, %error, "cannot read");
            }
            refused(log_error(&error))
        }
    }
}

/// A client that knows another leader has talked to another broker.
fn check_epoch(epoch: i32) -> Result<(), ResponseError> {
    if epoch > LEADER_EPOCH { Err(ResponseError::UnknownLeaderEpoch) } else { Ok(()) }
}

pub(super) fn list_offsets(
    request: ListOffsetsRequest,
    version: i16,
    shared: &Shared,
) -> ListOffsetsResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let found = find_offset(&topic.name, wanted, shared);
            let (error, timestamp, offset) = match found {
                Ok((timestamp, offset)) => (0, timestamp, offset),
                Err(error) => (error.code(), -1, -1),
            };
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(wanted.partition_index)
                .with_error_code(error)
                .with_timestamp(timestamp)
                .with_offset(offset);
            if version >= 4 { response.with_leader_epoch(LEADER_EPOCH) } else { response }
        });
        let partitions = partitions.collect();
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions)
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

/// Time and offset, −1 where there is none.
fn find_offset(
    topic: &str,
    wanted: &ListOffsetsPartition,
    shared: &Shared,
) -> Result<(i64, i64), ResponseError> {
    const LATEST: i64 = -1;
    const EARLIEST: i64 = -2;
    let partition = shared.topics.partition(topic, wanted.partition_index);
    let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
    check_epoch(wanted.current_leader_epoch)?;
    let log = partition.log();
    match wanted.timestamp {
        LATEST => Ok((-1, log.end_offset())),
        EARLIEST => Ok((-1, log.start_offset())),
        timestamp if timestamp >= 0 => {
            let found = log.find_time(timestamp).map_err(|error| {
                tracing::error!(topic, partition = wanted.partition_index, %error, "cannot read");
                ResponseError::KafkaStorageError
            })?;
            Ok(found.map_or((-1, -1), |(offset, timestamp)| (timestamp, offset)))
        }
        _ => Err(ResponseError::InvalidRequest),
    }
}

/// The leader never changes, so its epoch ends where the log ends.
pub(super) fn epoch_ends(
    request: OffsetForLeaderEpochRequest,
    shared: &Shared,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|wanted| {
            let end = epoch_end(&topic.topic, wanted, shared);
            let (error, epoch, end_offset) = match end {
                Ok((epoch, end_offset)) => (0, epoch, end_offset),
                Err(error) => (error.code(), -1, -1),
            };
            EpochEndOffset::default()
                .with_error_code(error)
                .with_partition(wanted.partition)
                .with_leader_epoch(epoch)
                .with_end_offset(end_offset)
        });
        let partitions = partitions.collect();
        let result = OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone());
        result.with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn epoch_end(
    topic: &str,
    wanted: &OffsetForLeaderPartition,
    shared: &Shared,
) -> Result<(i32, i64), ResponseError> {
    let partition = shared.topics.partition(topic, wanted.partition);
    let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
    check_epoch(wanted.current_leader_epoch)?;
    match wanted.leader_epoch {
        LEADER_EPOCH => Ok((LEADER_EPOCH, partition.log().end_offset())),
        _ => Ok((-1, -1)),
    }
}

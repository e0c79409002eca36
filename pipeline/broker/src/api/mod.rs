//! One request in, one response out; a module per family of APIs.
//!
//! The handlers see decoded messages and answer with error codes inside the responses. A field that
//! the negotiated version lacks must keep its default value, or the codec refuses the response.

mod configs;
mod groups;
mod metadata;
mod offsets;
mod produce;
mod read;
mod topics;

use crate::broker::Shared;
use crate::wire;
use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsRequest, BrokerId, ProduceRequest, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use std::net::SocketAddr;
use thiserror::Error;

/// The number of this node, the only one.
const NODE: BrokerId = BrokerId(1);
/// The leader never changes.
const LEADER_EPOCH: i32 = 0;

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) peer: SocketAddr,
    /// The address by which it reached the broker.
    pub(crate) local: SocketAddr,
}

/// Why a request is not answered; its connection ends.
#[derive(Debug, Error)]
pub(crate) enum RequestFault {
    #[error("request is too short for a header")]
    Short,
    #[error("api {0} is not served")]
    UnknownApi(i16),
    #[error("version {version} of api {key:?} is not served")]
    Version { key: ApiKey, version: i16 },
    #[error("request to api {key:?} claims more than it holds, or too much")]
    Lengths { key: ApiKey },
    #[error("request to api {key:?} cannot be decoded: {reason}")]
    Undecodable { key: ApiKey, reason: String },
    #[error("response of api {key:?} cannot be encoded: {reason}")]
    Unencodable { key: ApiKey, reason: String },
}

/// A request on its way through a handler.
struct Call<'a> {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    client_id: StrBytes,
    body: Bytes,
    out: &'a mut BytesMut,
}

/// Answers `request` into `out`, which stays empty if the client wants no answer.
pub(crate) fn answer(
    mut request: Bytes,
    client: &Client,
    shared: &Shared,
    out: &mut BytesMut,
) -> Result<(), RequestFault> {
    let fixed: &[u8; 8] = request.first_chunk().ok_or(RequestFault::Short)?;
    let key = i16::from_be_bytes([fixed[0], fixed[1]]);
    let version = i16::from_be_bytes([fixed[2], fixed[3]]);
    let correlation_id = i32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]);
    let api = wire::find(key).ok_or(RequestFault::UnknownApi(key))?;
    let key = api.key;
    if !api.serves(version) {
        if key != ApiKey::ApiVersions {
            return Err(RequestFault::Version { key, version });
        }
        // What a client of any version understands, so that it can choose another one.
        return respond(key, 0, correlation_id, &metadata::versions_refused(), out);
    }
    let header = RequestHeader::decode(&mut request, key.request_header_version(version))
        .map_err(|error| RequestFault::Undecodable { key, reason: error.to_string() })?;
    if !api.is_whole(&request, version) {
        return Err(RequestFault::Lengths { key });
    }
    let client_id = header.client_id.unwrap_or_default();
    let call = Call { key, version, correlation_id, client_id, body: request, out };
    dispatch(call, client, shared)
}

fn dispatch(call: Call<'_>, client: &Client, shared: &Shared) -> Result<(), RequestFault> {
    let version = call.version;
    let client_id = call.client_id.clone();
    match call.key {
        ApiKey::Produce => produce(call, shared),
        ApiKey::Fetch => call.serve(|request| read::fetch(request, shared)),
        ApiKey::ListOffsets => call.serve(|request| read::list_offsets(request, version, shared)),
        ApiKey::OffsetForLeaderEpoch => call.serve(|request| read::epoch_ends(request, shared)),
        ApiKey::DeleteRecords => call.serve(|request| topics::delete_records(request, shared)),
        ApiKey::ApiVersions => call.serve(|_: ApiVersionsRequest| metadata::versions()),
        ApiKey::Metadata => {
            call.serve(|request| metadata::metadata(request, version, client, shared))
        }
        ApiKey::FindCoordinator => {
            call.serve(|request| metadata::coordinator(request, version, client, shared))
        }
        ApiKey::InitProducerId => call.serve(|request| produce::init(request, shared)),
        ApiKey::JoinGroup => {
            call.serve(|request| groups::join(request, version, &client_id, client, shared))
        }
        ApiKey::SyncGroup => call.serve(|request| groups::sync(request, version, shared)),
        ApiKey::Heartbeat => call.serve(|request| groups::heartbeat(request, shared)),
        ApiKey::LeaveGroup => call.serve(|request| groups::leave(request, version, shared)),
        ApiKey::ListGroups => call.serve(|request| groups::list(request, version, shared)),
        ApiKey::DescribeGroups => call.serve(|request| groups::describe(request, version, shared)),
        ApiKey::DeleteGroups => call.serve(|request| groups::delete(request, shared)),
        ApiKey::ConsumerGroupHeartbeat => call.serve(groups::refuse_new_protocol),
        ApiKey::OffsetCommit => call.serve(|request| offsets::commit(request, shared)),
        ApiKey::OffsetFetch => call.serve(|request| offsets::fetch(request, version, shared)),
        ApiKey::CreateTopics => call.serve(|request| topics::create(request, version, shared)),
        ApiKey::DeleteTopics => call.serve(|request| topics::delete(request, version, shared)),
        ApiKey::CreatePartitions => call.serve(|request| topics::grow(request, shared)),
        ApiKey::DescribeConfigs => {
            call.serve(|request| configs::describe(request, version, shared))
        }
        ApiKey::AlterConfigs => call.serve(|request| configs::replace(request, shared)),
        ApiKey::IncrementalAlterConfigs => call.serve(|request| configs::change(request, shared)),
        other => Err(RequestFault::UnknownApi(other as i16)),
    }
}

/// The only request that may want no answer.
fn produce(mut call: Call<'_>, shared: &Shared) -> Result<(), RequestFault> {
    let request: ProduceRequest = call.decode()?;
    let wants_answer = request.acks != 0;
    let response = produce::produce(request, shared);
    if wants_answer { call.respond(&response) } else { Ok(()) }
}

impl Call<'_> {
    fn serve<R: Request>(
        mut self,
        handle: impl FnOnce(R) -> R::Response,
    ) -> Result<(), RequestFault> {
        let request = self.decode()?;
        self.respond(&handle(request))
    }

    fn decode<R: Decodable>(&mut self) -> Result<R, RequestFault> {
        R::decode(&mut self.body, self.version)
            .map_err(|error| RequestFault::Undecodable { key: self.key, reason: error.to_string() })
    }

    fn respond<R: Encodable + HeaderVersion>(self, response: &R) -> Result<(), RequestFault> {
        respond(self.key, self.version, self.correlation_id, response, self.out)
    }
}

/// Writes length, header and body.
fn respond<R: Encodable + HeaderVersion>(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    response: &R,
    out: &mut BytesMut,
) -> Result<(), RequestFault> {
    out.put_u32(0);
    let header = ResponseHeader::default().with_correlation_id(correlation_id);
    header
        .encode(out, R::header_version(version))
        .and_then(|()| response.encode(out, version))
        .map_err(|error| RequestFault::Unencodable { key, reason: error.to_string() })?;
    let length = out.len() as u32 - 4;
    out[..4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

#[cfg(test)]
mod tests;

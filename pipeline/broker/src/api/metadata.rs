//! What the broker is and where it is: versions, topics, coordinators.

use super::{Client, LEADER_EPOCH, NODE, text, topic_name};
use crate::broker::Shared;
use crate::settings::TopicSettings;
use crate::topics::{Topic, TopicError, TopicName};
use crate::wire::APIS;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, FindCoordinatorRequest, FindCoordinatorResponse, MetadataRequest,
    MetadataResponse,
};
use kafka_protocol::protocol::StrBytes;

const CLUSTER_ID: &str = "logweir-single-node";
/// Key type of a transaction's coordinator.
const TRANSACTION: i8 = 1;

pub(super) fn versions() -> ApiVersionsResponse {
    let served = APIS.iter().map(|api| {
        ApiVersion::default()
            .with_api_key(api.key as i16)
            .with_min_version(api.version_min)
            .with_max_version(api.version_max)
    });
    ApiVersionsResponse::default().with_api_keys(served.collect())
}

/// For a client that asks in a version that is not served.
pub(super) fn versions_refused() -> ApiVersionsResponse {
    versions().with_error_code(ResponseError::UnsupportedVersion.code())
}

pub(super) fn metadata(
    request: MetadataRequest,
    version: i16,
    client: &Client,
    shared: &Shared,
) -> MetadataResponse {
    let broker = MetadataResponseBroker::default()
        .with_node_id(NODE)
        .with_host(host(client, shared))
        .with_port(port(client));
    let topics = match request.topics {
        // In version 0 an empty list asks for all topics, later a missing one.
        Some(wanted) if version > 0 || !wanted.is_empty() => {
            let create = shared.config.auto_create_topics && request.allow_auto_topic_creation;
            let named = wanted.into_iter().map(|topic| topic.name.unwrap_or_default());
            named.map(|name| named_topic(&name, create, shared)).collect()
        }
        _ => shared.topics.all().iter().map(|topic| describe(topic)).collect(),
    };
    let response = MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_controller_id(NODE)
        .with_topics(topics);
    if version >= 2 { response.with_cluster_id(Some(text(CLUSTER_ID))) } else { response }
}

/// The host that reaches this broker from where the client is.
fn host(client: &Client, shared: &Shared) -> StrBytes {
    match &shared.config.advertised_host {
        Some(host) => text(host.as_str()),
        None => text(client.local.ip().to_string()),
    }
}

fn port(client: &Client) -> i32 {
    i32::from(client.local.port())
}

fn named_topic(name: &str, create: bool, shared: &Shared) -> MetadataResponseTopic {
    let failed = |error: ResponseError| {
        MetadataResponseTopic::default()
            .with_name(Some(topic_name(name)))
            .with_error_code(error.code())
    };
    if TopicName::parse(name).is_err() {
        return failed(ResponseError::InvalidTopicException);
    }
    if create && shared.topics.get(name).is_none() {
        let partitions = shared.config.default_partitions;
        match shared.topics.create(name, partitions, TopicSettings::default(), false) {
            Ok(()) | Err(TopicError::Exists) => {}
            Err(error) => tracing::warn!(topic = name, %error, "cannot create a topic"),
        }
    }
    match shared.topics.get(name) {
        Some(topic) => describe(&topic),
        None => failed(ResponseError::UnknownTopicOrPartition),
    }
}

fn describe(topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions();
    let partitions = partitions.iter().map(|partition| {
        MetadataResponsePartition::default()
            .with_partition_index(partition.index as i32)
            .with_leader_id(NODE)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![NODE])
            .with_isr_nodes(vec![NODE])
    });
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(topic.name())))
        .with_partitions(partitions.collect())
}

pub(super) fn coordinator(
    request: FindCoordinatorRequest,
    version: i16,
    client: &Client,
    shared: &Shared,
) -> FindCoordinatorResponse {
    if request.key_type == TRANSACTION {
        let error = ResponseError::TransactionalIdAuthorizationFailed.code();
        let response = FindCoordinatorResponse::default().with_error_code(error);
        let message = "this single-node broker does not serve transactions";
        return if version >= 1 {
            response.with_error_message(Some(text(message)))
        } else {
            response
        };
    }
    FindCoordinatorResponse::default()
        .with_node_id(NODE)
        .with_host(host(client, shared))
        .with_port(port(client))
}

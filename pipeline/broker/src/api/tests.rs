//! Every API in every version: whole requests, cut ones, damaged ones.

use super::*;
use crate::config::BrokerConfig;
use crate::log::batch::made::sequenced;
use crate::settings::TopicSettings;
use crate::wire::APIS;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use kafka_protocol::messages::{
    AlterConfigsRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    DescribeConfigsRequest, DescribeGroupsRequest, FetchRequest, FindCoordinatorRequest, GroupId,
    HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, JoinGroupRequest,
    LeaveGroupRequest, ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetFetchRequest, OffsetForLeaderEpochRequest, ProducerId, SyncGroupRequest,
    alter_configs_request, consumer_group_heartbeat_request, create_partitions_request,
    delete_records_request, describe_configs_request, fetch_request,
    incremental_alter_configs_request, join_group_request, leave_group_request,
    list_offsets_request, metadata_request, offset_commit_request, offset_fetch_request,
    offset_for_leader_epoch_request, produce_request, sync_group_request,
};
use tempfile::TempDir;

const CORRELATION: i32 = 77;

fn shared() -> (TempDir, Shared) {
    let directory = tempfile::tempdir().unwrap();
    let config = BrokerConfig::new("127.0.0.1:0".parse().unwrap(), directory.path());
    let shared = Shared::open(config).unwrap();
    shared.topics.create("here", 2, TopicSettings::default(), false).unwrap();
    // Nothing waits for anything.
    shared.stop();
    (directory, shared)
}

fn client() -> Client {
    Client { peer: "127.0.0.1:2".parse().unwrap(), local: "127.0.0.1:1".parse().unwrap() }
}

/// Header and body of a request.
fn encode<R: Request>(version: i16, request: R) -> (Vec<u8>, usize) {
    let key = ApiKey::try_from(R::KEY).unwrap();
    let mut bytes = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(CORRELATION)
        .with_client_id(Some(text("sweep")))
        .encode(&mut bytes, key.request_header_version(version))
        .unwrap();
    let header_bytes = bytes.len();
    request.encode(&mut bytes, version).unwrap_or_else(|fault| panic!("{key:?} {version} {fault}"));
    (bytes.to_vec(), header_bytes)
}

/// Reads a response to its last byte.
fn decode<R: Request>(version: i16, answer: &[u8]) {
    let key = ApiKey::try_from(R::KEY).unwrap();
    let (length, mut rest) = answer.split_at(4);
    assert_eq!(u32::from_be_bytes(length.try_into().unwrap()) as usize, rest.len());
    let header_version = key.response_header_version(version);
    let header = ResponseHeader::decode(&mut rest, header_version).unwrap();
    assert_eq!(header.correlation_id, CORRELATION);
    R::Response::decode(&mut rest, version).unwrap();
    assert_eq!(rest, [], "{key:?} {version}");
}

struct Sample {
    key: ApiKey,
    version: i16,
    request: Vec<u8>,
    header_bytes: usize,
    decode: fn(i16, &[u8]),
}

fn sample<R: Request>(version: i16, request: R) -> Sample {
    let (request, header_bytes) = encode(version, request);
    let key = ApiKey::try_from(R::KEY).unwrap();
    Sample { key, version, request, header_bytes, decode: decode::<R> }
}

/// A request with something in every array, for each API and version.
fn samples() -> Vec<Sample> {
    let versions = APIS
        .iter()
        .flat_map(|api| (api.version_min..=api.version_max).map(|version| (api.key, version)));
    versions.map(|(key, version)| sample_of(key, version)).collect()
}

fn sample_of(key: ApiKey, v: i16) -> Sample {
    match key {
        ApiKey::Produce => sample(v, produce_sample()),
        ApiKey::Fetch => sample(v, fetch_sample(v)),
        ApiKey::ListOffsets => sample(v, list_offsets_sample(v)),
        ApiKey::Metadata => sample(v, metadata_sample()),
        ApiKey::OffsetCommit => sample(v, commit_sample(v)),
        ApiKey::OffsetFetch => {
            let topic = offset_fetch_request::OffsetFetchRequestTopic::default()
                .with_name(topic_name("here"))
                .with_partition_indexes(vec![0, 1, 9]);
            let topics = Some(vec![topic]);
            sample(v, OffsetFetchRequest::default().with_group_id(group()).with_topics(topics))
        }
        ApiKey::FindCoordinator => sample(v, FindCoordinatorRequest::default().with_key(text("g"))),
        ApiKey::JoinGroup => sample(v, join_sample(v)),
        ApiKey::Heartbeat => {
            let request = HeartbeatRequest::default().with_group_id(group());
            sample(v, request.with_group_instance_id((v >= 3).then(|| text("i"))))
        }
        ApiKey::LeaveGroup => sample(v, leave_sample(v)),
        ApiKey::SyncGroup => sample(v, sync_sample(v)),
        ApiKey::DescribeGroups => {
            sample(v, DescribeGroupsRequest::default().with_groups(vec![group(), group()]))
        }
        ApiKey::ListGroups => {
            let states = if v >= 4 { vec![text("Stable"), text("Empty")] } else { vec![] };
            sample(v, ListGroupsRequest::default().with_states_filter(states))
        }
        ApiKey::ApiVersions => {
            let request = ApiVersionsRequest::default();
            sample(v, if v >= 3 { request.with_client_software_name(text("s")) } else { request })
        }
        ApiKey::CreateTopics => sample(v, create_sample()),
        ApiKey::DeleteTopics => {
            let names = vec![topic_name("gone"), topic_name("../up")];
            sample(v, DeleteTopicsRequest::default().with_topic_names(names))
        }
        ApiKey::DeleteRecords => sample(v, delete_records_sample()),
        ApiKey::InitProducerId => {
            let request = InitProducerIdRequest::default().with_transactional_id(None);
            sample(v, if v >= 3 { request.with_producer_id(ProducerId(5)) } else { request })
        }
        ApiKey::OffsetForLeaderEpoch => sample(v, epoch_sample()),
        ApiKey::DescribeConfigs => sample(v, describe_configs_sample()),
        ApiKey::AlterConfigs => sample(v, alter_sample()),
        ApiKey::IncrementalAlterConfigs => sample(v, incremental_sample()),
        ApiKey::CreatePartitions => sample(v, create_partitions_sample()),
        ApiKey::DeleteGroups => {
            sample(v, DeleteGroupsRequest::default().with_groups_names(vec![group()]))
        }
        ApiKey::ConsumerGroupHeartbeat => {
            let partitions = consumer_group_heartbeat_request::TopicPartitions::default();
            let request = ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group())
                .with_subscribed_topic_names(Some(vec![topic_name("here")]))
                .with_topic_partitions(Some(vec![partitions.with_partitions(vec![1, 2])]));
            sample(v, request)
        }
        other => panic!("{other:?} has no sample"),
    }
}

fn group() -> GroupId {
    GroupId(text("group"))
}

fn produce_sample() -> ProduceRequest {
    let partition = |index, records: Vec<u8>| {
        let data = produce_request::PartitionProduceData::default().with_index(index);
        data.with_records(Some(records.into()))
    };
    let partitions = vec![partition(0, sequenced(2, 9, 4, 0, 0)), partition(1, vec![1, 2, 3])];
    let topic = produce_request::TopicProduceData::default()
        .with_name(topic_name("here"))
        .with_partition_data(partitions);
    ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic.clone(), topic])
}

fn fetch_sample(version: i16) -> FetchRequest {
    let partition = |index, offset| {
        fetch_request::FetchPartition::default()
            .with_partition(index)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1000)
    };
    let topic = fetch_request::FetchTopic::default()
        .with_topic(topic_name("here"))
        .with_partitions(vec![partition(0, 0), partition(1, 99), partition(7, 0)]);
    let forgotten = fetch_request::ForgottenTopic::default()
        .with_topic(topic_name("here"))
        .with_partitions(vec![1]);
    let request = FetchRequest::default()
        .with_max_bytes(1000)
        .with_isolation_level(1)
        .with_topics(vec![topic]);
    let forgotten = if version >= 7 { vec![forgotten] } else { vec![] };
    request.with_forgotten_topics_data(forgotten)
}

fn list_offsets_sample(version: i16) -> ListOffsetsRequest {
    let partition = |index, timestamp| {
        let partition = list_offsets_request::ListOffsetsPartition::default()
            .with_partition_index(index)
            .with_timestamp(timestamp);
        if version >= 4 { partition.with_current_leader_epoch(0) } else { partition }
    };
    let partitions = vec![partition(0, -1), partition(0, -2), partition(1, 5), partition(9, -3)];
    let topic = list_offsets_request::ListOffsetsTopic::default()
        .with_name(topic_name("here"))
        .with_partitions(partitions);
    ListOffsetsRequest::default().with_topics(vec![topic])
}

fn metadata_sample() -> MetadataRequest {
    let named = ["here", "gone", "../up"].map(|name| {
        metadata_request::MetadataRequestTopic::default().with_name(Some(topic_name(name)))
    });
    MetadataRequest::default()
        .with_topics(Some(named.to_vec()))
        .with_allow_auto_topic_creation(true)
}

fn commit_sample(version: i16) -> OffsetCommitRequest {
    let partition = |index, offset| {
        offset_commit_request::OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("note")))
    };
    let topic = offset_commit_request::OffsetCommitRequestTopic::default()
        .with_name(topic_name("here"))
        .with_partitions(vec![partition(0, 5), partition(1, -1), partition(8, 5)]);
    OffsetCommitRequest::default()
        .with_group_id(group())
        .with_generation_id_or_member_epoch(-1)
        .with_group_instance_id((version >= 7).then(|| text("instance")))
        .with_topics(vec![topic])
}

fn join_sample(version: i16) -> JoinGroupRequest {
    let protocol = join_group_request::JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"metadata"));
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_session_timeout_ms(6000)
        .with_group_instance_id((version >= 5).then(|| text("instance")))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

fn leave_sample(version: i16) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group());
    let member = leave_group_request::MemberIdentity::default().with_member_id(text("member"));
    match version {
        0..3 => request.with_member_id(text("member")),
        _ => request.with_members(vec![member.clone(), member]),
    }
}

fn sync_sample(version: i16) -> SyncGroupRequest {
    let assignment = sync_group_request::SyncGroupRequestAssignment::default()
        .with_member_id(text("member"))
        .with_assignment(Bytes::from_static(b"assignment"));
    SyncGroupRequest::default()
        .with_group_id(group())
        .with_protocol_name((version >= 5).then(|| text("range")))
        .with_assignments(vec![assignment])
}

fn create_sample() -> CreateTopicsRequest {
    let config = CreatableTopicConfig::default().with_name(text("retention.ms"));
    let assigned = CreatableReplicaAssignment::default().with_broker_ids(vec![NODE]);
    let plain = CreatableTopic::default()
        .with_name(topic_name("new"))
        .with_num_partitions(1)
        .with_replication_factor(1)
        .with_configs(vec![config.with_value(Some(text("1000")))]);
    let by_hand = CreatableTopic::default()
        .with_name(topic_name("by-hand"))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(vec![assigned]);
    let unsound = CreatableTopic::default().with_name(topic_name("a/b")).with_replication_factor(3);
    CreateTopicsRequest::default().with_topics(vec![plain, by_hand, unsound])
}

fn delete_records_sample() -> DeleteRecordsRequest {
    let partition = |index, offset| {
        delete_records_request::DeleteRecordsPartition::default()
            .with_partition_index(index)
            .with_offset(offset)
    };
    let topic = delete_records_request::DeleteRecordsTopic::default()
        .with_name(topic_name("here"))
        .with_partitions(vec![partition(0, 1), partition(1, 500), partition(5, 0)]);
    DeleteRecordsRequest::default().with_topics(vec![topic])
}

fn epoch_sample() -> OffsetForLeaderEpochRequest {
    let partition = |index, epoch| {
        offset_for_leader_epoch_request::OffsetForLeaderPartition::default()
            .with_partition(index)
            .with_leader_epoch(epoch)
    };
    let topic = offset_for_leader_epoch_request::OffsetForLeaderTopic::default()
        .with_topic(topic_name("here"))
        .with_partitions(vec![partition(0, 0), partition(1, 7), partition(6, 0)]);
    OffsetForLeaderEpochRequest::default().with_topics(vec![topic])
}

fn describe_configs_sample() -> DescribeConfigsRequest {
    let resource = |kind, name: &'static str| {
        describe_configs_request::DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
    };
    let keys = Some(vec![text("retention.ms"), text("unknown")]);
    let some = resource(2, "here").with_configuration_keys(keys);
    let all = resource(2, "here").with_configuration_keys(None);
    let broker = resource(4, "1").with_configuration_keys(None);
    let resources = vec![some, all, broker, resource(2, "gone"), resource(8, "?")];
    DescribeConfigsRequest::default().with_resources(resources)
}

fn alter_sample() -> AlterConfigsRequest {
    let config = alter_configs_request::AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("5000")));
    let resource = |kind, name: &'static str| {
        alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configs(vec![config.clone()])
    };
    AlterConfigsRequest::default().with_resources(vec![resource(2, "here"), resource(4, "1")])
}

fn incremental_sample() -> IncrementalAlterConfigsRequest {
    let config = |operation, value: &'static str| {
        incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text("retention.bytes"))
            .with_config_operation(operation)
            .with_value(Some(text(value)))
    };
    let resource = |configs| {
        incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("here"))
            .with_configs(configs)
    };
    let resources =
        vec![resource(vec![config(0, "5000"), config(1, "")]), resource(vec![config(2, "x")])];
    IncrementalAlterConfigsRequest::default().with_resources(resources)
}

fn create_partitions_sample() -> CreatePartitionsRequest {
    let assignment = create_partitions_request::CreatePartitionsAssignment::default()
        .with_broker_ids(vec![NODE]);
    let topic = |name: &'static str, count| {
        create_partitions_request::CreatePartitionsTopic::default()
            .with_name(topic_name(name))
            .with_count(count)
            .with_assignments(Some(vec![assignment.clone()]))
    };
    CreatePartitionsRequest::default().with_topics(vec![topic("here", 2), topic("gone", 5)])
}

#[test]
fn every_api_answers_in_every_version() {
    let (_directory, shared) = shared();
    for sample in samples() {
        let mut out = BytesMut::new();
        answer(sample.request.into(), &client(), &shared, &mut out)
            .unwrap_or_else(|fault| panic!("{:?} {} {fault}", sample.key, sample.version));
        (sample.decode)(sample.version, &out);
    }
}

#[test]
fn a_request_that_lacks_bytes_is_not_decoded() {
    for sample in samples() {
        let api = wire::find(sample.key as i16).unwrap();
        let body = &sample.request[sample.header_bytes..];
        assert!(api.is_whole(body, sample.version), "{:?} {}", sample.key, sample.version);
        for length in 0..body.len() {
            let whole = api.is_whole(&body[..length], sample.version);
            assert!(!whole, "{:?} {} cut at {length}", sample.key, sample.version);
        }
    }
}

#[test]
fn a_request_with_any_byte_changed_is_answered_or_refused() {
    let (_directory, shared) = shared();
    let mut answered = 0;
    for sample in samples() {
        // Key and version are kept: other tests change them.
        for at in 4..sample.request.len() {
            for value in [0, 0x7f, 0xff] {
                let mut request = sample.request.clone();
                request[at] = value;
                let mut out = BytesMut::new();
                match answer(request.into(), &client(), &shared, &mut out) {
                    Ok(()) => answered += 1,
                    Err(RequestFault::Unencodable { key, reason }) => panic!("{key:?} {reason}"),
                    Err(_) => {}
                }
            }
        }
    }
    assert!(answered > 5_000, "{answered}");
}

#[test]
fn a_claim_of_billions_takes_no_memory() {
    let (_directory, shared) = shared();
    let claims: [(i16, i16, &[u8]); 3] = [
        // Metadata of 2147483647 topics, compact and not.
        (3, 1, &[0x7f, 0xff, 0xff, 0xff]),
        (3, 9, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        // A group with as many protocols.
        (11, 0, &[0, 1, b'g', 0, 0, 9, 9, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
    ];
    for (key, version, body) in claims {
        let mut request = Vec::new();
        request.extend(key.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend([0, 0, 0, 1, 0, 0]);
        request.extend(body);
        let refused = answer(request.into(), &client(), &shared, &mut BytesMut::new());
        assert!(matches!(refused, Err(RequestFault::Lengths { .. })), "{key} {version}");
    }
}

#[test]
fn what_is_not_served_is_refused_and_a_new_client_learns_what_is() {
    let (_directory, shared) = shared();
    let ask = |key: i16, version: i16| {
        let mut request = Vec::new();
        request.extend(key.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(CORRELATION.to_be_bytes());
        request.extend([0xff; 20]);
        let mut out = BytesMut::new();
        answer(request.into(), &client(), &shared, &mut out).map(|()| out)
    };
    for key in -1..100 {
        let Some(api) = wire::find(key) else {
            assert!(matches!(ask(key, 0), Err(RequestFault::UnknownApi(_))), "{key}");
            continue;
        };
        if api.key == ApiKey::ApiVersions {
            continue;
        }
        for version in [api.version_min - 1, api.version_max + 1, i16::MAX, i16::MIN] {
            let refused = matches!(ask(key, version), Err(RequestFault::Version { .. }));
            assert!(refused, "{key} {version}");
        }
    }
    let out = ask(18, 99).unwrap();
    decode::<ApiVersionsRequest>(0, &out);
    let mut body = &out[8..];
    let response = kafka_protocol::messages::ApiVersionsResponse::decode(&mut body, 0).unwrap();
    assert_eq!((response.error_code, response.api_keys.len()), (35, APIS.len()));
}

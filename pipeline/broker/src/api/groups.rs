//! Consumer groups: joining, living, leaving, and what tools want to know of them.

use super::{Client, text};
use crate::broker::Shared;
use crate::groups::{Claim, Description, GroupFault, Join, JoinAnswer, Joined, Protocol, Refusal};
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DeleteGroupsRequest,
    DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListGroupsRequest, ListGroupsResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

/// Operations that were not asked for, or are not told.
const NO_OPERATIONS: i32 = i32::MIN;

pub(super) fn join(
    request: JoinGroupRequest,
    version: i16,
    client_id: &str,
    client: &Client,
    shared: &Shared,
) -> JoinGroupResponse {
    let milliseconds = |number: i32| Duration::from_millis(u64::try_from(number).unwrap_or(0));
    let session_timeout = milliseconds(request.session_timeout_ms);
    let has_rebalance_timeout = version >= 1 && request.rebalance_timeout_ms > 0;
    let protocols = request
        .protocols
        .into_iter()
        .map(|protocol| Protocol { name: protocol.name.to_string(), metadata: protocol.metadata });
    let join = Join {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client_id: client_id.to_owned(),
        client_host: format!("/{}", client.peer.ip()),
        session_timeout,
        rebalance_timeout: match has_rebalance_timeout {
            true => milliseconds(request.rebalance_timeout_ms),
            false => session_timeout,
        },
        protocol_type: request.protocol_type.to_string(),
        protocols: protocols.collect(),
        id_first: version >= 4,
    };
    match shared.groups.join(&request.group_id, join) {
        Ok(JoinAnswer::Joined(part)) => joined(part, version),
        Ok(JoinAnswer::Promised(id)) => {
            join_refused(ResponseError::MemberIdRequired, text(id), version)
        }
        Err(fault) => join_refused(group_error(fault), request.member_id, version),
    }
}

fn joined(part: Joined, version: i16) -> JoinGroupResponse {
    let members = part.members.into_iter().map(|(id, instance, metadata)| {
        let member =
            JoinGroupResponseMember::default().with_member_id(text(id)).with_metadata(metadata);
        let instance = if version >= 5 { instance.map(text) } else { None };
        member.with_group_instance_id(instance)
    });
    let response = JoinGroupResponse::default()
        .with_generation_id(part.generation)
        .with_protocol_name(Some(text(part.protocol)))
        .with_leader(text(part.leader))
        .with_member_id(text(part.member_id))
        .with_members(members.collect());
    with_protocol_type(response, part.protocol_type, version)
}

fn join_refused(error: ResponseError, member_id: StrBytes, version: i16) -> JoinGroupResponse {
    let response = JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        .with_protocol_name(Some(StrBytes::default()))
        .with_member_id(member_id);
    with_protocol_type(response, String::new(), version)
}

fn with_protocol_type(
    response: JoinGroupResponse,
    protocol_type: String,
    version: i16,
) -> JoinGroupResponse {
    if version >= 7 { response.with_protocol_type(Some(text(protocol_type))) } else { response }
}

pub(super) fn sync(request: SyncGroupRequest, version: i16, shared: &Shared) -> SyncGroupResponse {
    let claim = Claim {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let assignments = request.assignments.into_iter();
    let assignments =
        assignments.map(|entry| (entry.member_id.to_string(), entry.assignment)).collect();
    let protocol = request.protocol_name.as_deref();
    match shared.groups.sync(&request.group_id, claim, protocol, assignments) {
        Ok((assignment, protocol_type, protocol)) => {
            let response = SyncGroupResponse::default().with_assignment(assignment);
            if version < 5 {
                return response;
            }
            response
                .with_protocol_type(Some(text(protocol_type)))
                .with_protocol_name(Some(text(protocol)))
        }
        Err(fault) => SyncGroupResponse::default().with_error_code(group_error(fault).code()),
    }
}

pub(super) fn heartbeat(request: HeartbeatRequest, shared: &Shared) -> HeartbeatResponse {
    let claim = Claim {
        member_id: &request.member_id,
        instance_id: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let result = shared.groups.heartbeat(&request.group_id, claim);
    HeartbeatResponse::default().with_error_code(code_of(result))
}

pub(super) fn leave(
    request: LeaveGroupRequest,
    version: i16,
    shared: &Shared,
) -> LeaveGroupResponse {
    let group = &request.group_id;
    if version < 3 {
        let result = shared.groups.leave(group, &request.member_id, None);
        return LeaveGroupResponse::default().with_error_code(code_of(result));
    }
    let leave_one = |member: MemberIdentity| {
        let instance = member.group_instance_id.as_deref();
        let result = shared.groups.leave(group, &member.member_id, instance);
        MemberResponse::default()
            .with_error_code(code_of(result))
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
    };
    let members = request.members.into_iter().map(leave_one).collect();
    LeaveGroupResponse::default().with_members(members)
}

pub(super) fn list(
    request: ListGroupsRequest,
    version: i16,
    shared: &Shared,
) -> ListGroupsResponse {
    let wanted = |state: &str| {
        request.states_filter.is_empty() || request.states_filter.iter().any(|name| *name == *state)
    };
    let listed = shared.groups.list().into_iter().filter(|(_, _, state)| wanted(state));
    let listed = listed.map(|(id, protocol_type, state)| {
        let group = ListedGroup::default()
            .with_group_id(GroupId(text(id)))
            .with_protocol_type(text(protocol_type));
        if version >= 4 { group.with_group_state(text(state)) } else { group }
    });
    ListGroupsResponse::default().with_groups(listed.collect())
}

pub(super) fn describe(
    request: DescribeGroupsRequest,
    version: i16,
    shared: &Shared,
) -> DescribeGroupsResponse {
    let described = request.groups.into_iter().map(|id| {
        let description = shared.groups.describe(&id);
        described(id, description, version)
    });
    DescribeGroupsResponse::default().with_groups(described.collect())
}

fn described(id: GroupId, group: Description, version: i16) -> DescribedGroup {
    let members = group.members.into_iter().map(|member| {
        let described = DescribedGroupMember::default()
            .with_member_id(text(member.id))
            .with_client_id(text(member.client_id))
            .with_client_host(text(member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment);
        let instance = if version >= 4 { member.instance_id.map(text) } else { None };
        described.with_group_instance_id(instance)
    });
    DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(text(group.state))
        .with_protocol_type(text(group.protocol_type))
        .with_protocol_data(text(group.protocol))
        .with_members(members.collect())
        .with_authorized_operations(NO_OPERATIONS)
}

pub(super) fn delete(request: DeleteGroupsRequest, shared: &Shared) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let error = code_of(shared.groups.delete(&id));
        DeletableGroupResult::default().with_group_id(id).with_error_code(error)
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}

/// The groups of KIP-848. Without an answer at all some clients wait for ever and say nothing.
pub(super) fn refuse_new_protocol(
    _: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    let message = "this single-node broker serves `group.protocol=classic` only";
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(ResponseError::UnsupportedVersion.code())
        .with_error_message(Some(text(message)))
}

fn code_of(result: Result<(), GroupFault>) -> i16 {
    result.err().map_or(0, |fault| group_error(fault).code())
}

pub(super) fn group_error(fault: GroupFault) -> ResponseError {
    match fault {
        GroupFault::Refused(Refusal::UnknownMember) => ResponseError::UnknownMemberId,
        GroupFault::Refused(Refusal::FencedInstance) => ResponseError::FencedInstanceId,
        GroupFault::Refused(Refusal::IllegalGeneration) => ResponseError::IllegalGeneration,
        GroupFault::Refused(Refusal::RebalanceInProgress) => ResponseError::RebalanceInProgress,
        GroupFault::Refused(Refusal::InconsistentProtocol) => {
            ResponseError::InconsistentGroupProtocol
        }
        GroupFault::Refused(Refusal::Full) | GroupFault::TooManyGroups => {
            ResponseError::GroupMaxSizeReached
        }
        GroupFault::GroupId => ResponseError::InvalidGroupId,
        GroupFault::SessionTimeout => ResponseError::InvalidSessionTimeout,
        GroupFault::Stopping | GroupFault::Storage => ResponseError::CoordinatorNotAvailable,
        GroupFault::Unknown => ResponseError::GroupIdNotFound,
        GroupFault::NotEmpty => ResponseError::NonEmptyGroup,
    }
}

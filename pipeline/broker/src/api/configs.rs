//! The settings of topics, and the few of the broker that tools ask for.

use super::text;
use super::topics::refusal;
use crate::broker::Shared;
use crate::settings::{FIXED, Setting, SettingFault, TopicSettings};
use crate::topics::TopicError;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse as Replaced;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as Changed;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

/// Kinds of resources.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Where a value comes from.
const SOURCE_TOPIC: i8 = 1;
const SOURCE_DEFAULT: i8 = 5;
const TYPE_STRING: i8 = 2;

struct Entry {
    name: &'static str,
    value: String,
    source: i8,
    kafka_type: i8,
    read_only: bool,
}

pub(super) fn describe(
    request: DescribeConfigsRequest,
    version: i16,
    shared: &Shared,
) -> DescribeConfigsResponse {
    let results = request.resources.into_iter().map(|resource| {
        let entries = entries(&resource, shared);
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        match entries {
            Ok(entries) => {
                let wanted = |entry: &Entry| match &resource.configuration_keys {
                    Some(keys) => keys.iter().any(|key| *key == *entry.name),
                    None => true,
                };
                let shown = entries.into_iter().filter(wanted).map(|entry| shown(entry, version));
                result.with_configs(shown.collect())
            }
            Err((error, message)) => {
                result.with_error_code(error.code()).with_error_message(Some(text(message)))
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn shown(entry: Entry, version: i16) -> DescribeConfigsResourceResult {
    let result = DescribeConfigsResourceResult::default()
        .with_name(text(entry.name))
        .with_value(Some(text(entry.value)))
        .with_read_only(entry.read_only)
        .with_config_source(entry.source);
    if version >= 3 { result.with_config_type(entry.kafka_type) } else { result }
}

fn entries(
    resource: &DescribeConfigsResource,
    shared: &Shared,
) -> Result<Vec<Entry>, (ResponseError, String)> {
    match resource.resource_type {
        TOPIC => {
            let topic = shared.topics.get(&resource.resource_name);
            let topic = topic.ok_or_else(|| refusal(TopicError::Unknown))?;
            Ok(topic_entries(&topic.settings(), shared))
        }
        BROKER => Ok(broker_entries(shared)),
        other => Err(unserved(other)),
    }
}

fn topic_entries(settings: &TopicSettings, shared: &Shared) -> Vec<Entry> {
    let chosen = Setting::ALL.into_iter().map(|setting| {
        let own = settings.own(setting);
        let value = own.map(str::to_owned);
        Entry {
            name: setting.name(),
            value: value.unwrap_or_else(|| setting.default_value(&shared.config)),
            source: if own.is_some() { SOURCE_TOPIC } else { SOURCE_DEFAULT },
            kafka_type: setting.kafka_type(),
            read_only: false,
        }
    });
    let fixed = FIXED.iter().map(|(name, value)| read_only(name, (*value).to_owned()));
    chosen.chain(fixed).collect()
}

fn broker_entries(shared: &Shared) -> Vec<Entry> {
    let config = &shared.config;
    vec![
        read_only("auto.create.topics.enable", config.auto_create_topics.to_string()),
        read_only("default.replication.factor", "1".into()),
        read_only("log.retention.bytes", Setting::RetentionBytes.default_value(config)),
        read_only("log.retention.ms", Setting::RetentionMs.default_value(config)),
        read_only("log.segment.bytes", Setting::SegmentBytes.default_value(config)),
        read_only("message.max.bytes", Setting::MessageBytesMax.default_value(config)),
        read_only("num.partitions", config.default_partitions.to_string()),
    ]
}

fn read_only(name: &'static str, value: String) -> Entry {
    Entry { name, value, source: SOURCE_DEFAULT, kafka_type: TYPE_STRING, read_only: true }
}

/// `AlterConfigs`: what is not named goes back to its default.
pub(super) fn replace(request: AlterConfigsRequest, shared: &Shared) -> AlterConfigsResponse {
    let dry = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let (kind, name) = (resource.resource_type, resource.resource_name);
        let (error, message) = alter(kind, &name, dry, shared, |settings| {
            *settings = TopicSettings::default();
            let mut configs = resource.configs.iter();
            configs.try_for_each(|config| settings.set(&config.name, config.value.as_deref()))
        });
        Replaced::default()
            .with_error_code(error)
            .with_error_message(message)
            .with_resource_type(kind)
            .with_resource_name(name)
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// `IncrementalAlterConfigs`.
pub(super) fn change(
    request: IncrementalAlterConfigsRequest,
    shared: &Shared,
) -> IncrementalAlterConfigsResponse {
    let dry = request.validate_only;
    let responses = request.resources.into_iter().map(|resource| {
        let (kind, name) = (resource.resource_type, resource.resource_name);
        let (error, message) = alter(kind, &name, dry, shared, |settings| {
            resource.configs.iter().try_for_each(|config| change_one(settings, config))
        });
        Changed::default()
            .with_error_code(error)
            .with_error_message(message)
            .with_resource_type(kind)
            .with_resource_name(name)
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn change_one(settings: &mut TopicSettings, config: &AlterableConfig) -> Result<(), SettingFault> {
    const SET: i8 = 0;
    const DELETE: i8 = 1;
    match config.config_operation {
        SET => settings.set(&config.name, config.value.as_deref()),
        DELETE => settings.set(&config.name, None),
        // Lists are short enough to be set.
        _ => Err(SettingFault::Unknown(format!("{} (append or subtract)", config.name))),
    }
}

fn alter(
    kind: i8,
    name: &str,
    dry: bool,
    shared: &Shared,
    change: impl FnOnce(&mut TopicSettings) -> Result<(), SettingFault>,
) -> (i16, Option<StrBytes>) {
    let altered = match kind {
        TOPIC => shared.topics.configure(name, dry, change).map_err(refusal),
        BROKER => {
            let message = "the broker's own settings are those it was started with";
            Err((ResponseError::PolicyViolation, message.to_owned()))
        }
        other => Err(unserved(other)),
    };
    match altered {
        Ok(()) => (0, None),
        Err((error, message)) => (error.code(), Some(text(message))),
    }
}

fn unserved(kind: i8) -> (ResponseError, String) {
    (ResponseError::InvalidRequest, format!("resources of kind {kind} have no settings here"))
}

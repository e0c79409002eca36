//! The settings of a topic, under Kafka's names.
//!
//! Six can be chosen. Some more are accepted at the one value that a single node has anyway, so that
//! tools which always state them work; whatever else is asked for is refused rather than ignored.
//! `cleanup.policy=compact` is accepted, but keeps every record until retention: compaction is an
//! optimisation that readers must not rely on.

use crate::config::BrokerConfig;
use crate::log::LogLimits;
use std::collections::BTreeMap;
use std::time::Duration;

/// A setting that a topic may have a value of its own for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Setting {
    CleanupPolicy,
    MessageBytesMax,
    RetentionBytes,
    RetentionMs,
    SegmentBytes,
    TimestampType,
}

/// Settings that cannot be changed, with their values.
pub(crate) const FIXED: [(&str, &str); 3] = [
    ("compression.type", "producer"),
    ("min.insync.replicas", "1"),
    ("unclean.leader.election.enable", "false"),
];

const CREATE_TIME: &str = "CreateTime";
const LOG_APPEND_TIME: &str = "LogAppendTime";

/// Least segment size: below, a partition would be all files.
const SEGMENT_BYTES_MIN: i64 = 4 << 10;

/// Why a setting is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum SettingFault {
    #[error("setting `{0}` is not served by this broker")]
    Unknown(String),
    #[error("`{name}` is always `{value}` on this broker")]
    Fixed { name: &'static str, value: &'static str },
    #[error("`{value}` is not a value of `{name}`; write {expected}")]
    Value { name: &'static str, value: String, expected: &'static str },
}

impl Setting {
    pub(crate) const ALL: [Self; 6] = [
        Self::CleanupPolicy,
        Self::MessageBytesMax,
        Self::RetentionBytes,
        Self::RetentionMs,
        Self::SegmentBytes,
        Self::TimestampType,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CleanupPolicy => "cleanup.policy",
            Self::MessageBytesMax => "max.message.bytes",
            Self::RetentionBytes => "retention.bytes",
            Self::RetentionMs => "retention.ms",
            Self::SegmentBytes => "segment.bytes",
            Self::TimestampType => "message.timestamp.type",
        }
    }

    /// The number that stands for the type in `DescribeConfigs`.
    pub(crate) fn kafka_type(self) -> i8 {
        const STRING: i8 = 2;
        const INT: i8 = 3;
        const LONG: i8 = 5;
        const LIST: i8 = 7;
        match self {
            Self::CleanupPolicy => LIST,
            Self::TimestampType => STRING,
            Self::MessageBytesMax | Self::SegmentBytes => INT,
            Self::RetentionBytes | Self::RetentionMs => LONG,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::CleanupPolicy => "`delete` or `compact`",
            Self::MessageBytesMax => "a number of bytes from 1024 to 104857600",
            Self::RetentionBytes => "a number of bytes, or -1 for no limit",
            Self::RetentionMs => "a number of milliseconds, or -1 for no limit",
            Self::SegmentBytes => "a number of bytes from 4096 to 2147483647",
            Self::TimestampType => "`CreateTime` or `LogAppendTime`",
        }
    }

    fn accepts(self, value: &str) -> bool {
        let within = |range: std::ops::RangeInclusive<i64>| {
            value.parse().is_ok_and(|number: i64| range.contains(&number))
        };
        match self {
            Self::CleanupPolicy => {
                value.split(',').all(|policy| matches!(policy.trim(), "delete" | "compact"))
            }
            Self::MessageBytesMax => within(1024..=100 << 20),
            Self::RetentionBytes | Self::RetentionMs => within(-1..=i64::MAX),
            Self::SegmentBytes => within(SEGMENT_BYTES_MIN..=i64::from(i32::MAX)),
            Self::TimestampType => matches!(value, CREATE_TIME | LOG_APPEND_TIME),
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|setting| setting.name() == name)
    }

    /// The value for topics without one of their own.
    pub(crate) fn default_value(self, config: &BrokerConfig) -> String {
        let or_unlimited = |limit: Option<u128>| limit.map_or("-1".into(), |max| max.to_string());
        match self {
            Self::CleanupPolicy => "delete".into(),
            Self::MessageBytesMax => config.message_bytes_max.to_string(),
            Self::RetentionBytes => or_unlimited(config.retention_bytes.map(u128::from)),
            Self::RetentionMs => or_unlimited(config.retention.map(|time| time.as_millis())),
            Self::SegmentBytes => config.segment_bytes.to_string(),
            Self::TimestampType => CREATE_TIME.into(),
        }
    }
}

/// A topic's own values; every one has been checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicSettings {
    own: BTreeMap<Setting, String>,
}

impl TopicSettings {
    /// Sets `name`, or goes back to its default.
    pub(crate) fn set(&mut self, name: &str, value: Option<&str>) -> Result<(), SettingFault> {
        if let Some(&(name, fixed)) = FIXED.iter().find(|(fixed, _)| *fixed == name) {
            let same = value.is_none_or(|value| value == fixed);
            return same.then_some(()).ok_or(SettingFault::Fixed { name, value: fixed });
        }
        let setting = Setting::named(name).ok_or_else(|| SettingFault::Unknown(name.into()))?;
        match value {
            None => drop(self.own.remove(&setting)),
            Some(value) if setting.accepts(value) => drop(self.own.insert(setting, value.into())),
            Some(value) => {
                return Err(SettingFault::Value {
                    name: setting.name(),
                    value: value.into(),
                    expected: setting.expected(),
                });
            }
        }
        Ok(())
    }

    /// The topic's own value.
    pub(crate) fn own(&self, setting: Setting) -> Option<&str> {
        self.own.get(&setting).map(String::as_str)
    }

    /// All own values, as `name=value`.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.own.iter().map(|(setting, value)| (setting.name(), value.as_str()))
    }

    pub(crate) fn log_limits(&self, config: &BrokerConfig) -> LogLimits {
        let milliseconds = |limit: Option<u64>| limit.map(Duration::from_millis);
        LogLimits {
            segment_bytes: self.number(Setting::SegmentBytes).unwrap_or(config.segment_bytes),
            retention_bytes: match self.own(Setting::RetentionBytes) {
                Some(_) => self.number(Setting::RetentionBytes),
                None => config.retention_bytes,
            },
            retention: match self.own(Setting::RetentionMs) {
                Some(_) => milliseconds(self.number(Setting::RetentionMs)),
                None => config.retention,
            },
            stamps: self.own(Setting::TimestampType) == Some(LOG_APPEND_TIME),
        }
    }

    /// The largest batch that the topic takes.
    pub(crate) fn message_bytes_max(&self, config: &BrokerConfig) -> u64 {
        self.number(Setting::MessageBytesMax).unwrap_or(u64::from(config.message_bytes_max))
    }

    /// An own number; `None` if there is none or if it is −1.
    fn number(&self, setting: Setting) -> Option<u64> {
        self.own(setting)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_settings_with_sound_values_are_taken_and_others_refused_with_a_reason() {
        fn check(name: &str, value: &str, refusal: Option<&str>) {
            let set = TopicSettings::default().set(name, Some(value));
            assert_eq!(set.err().map(|fault| fault.to_string()).as_deref(), refusal, "{name}");
        }
        check("retention.ms", "60000", None);
        check("retention.ms", "-1", None);
        check("retention.bytes", "0", None);
        check("cleanup.policy", "compact,delete", None);
        check("min.insync.replicas", "1", None);
        check("message.timestamp.type", "LogAppendTime", None);
        check(
            "min.insync.replicas",
            "2",
            Some("`min.insync.replicas` is always `1` on this broker"),
        );
        check("segment.ms", "1", Some("setting `segment.ms` is not served by this broker"));
        check(
            "segment.bytes",
            "14",
            Some(
                "`14` is not a value of `segment.bytes`; write a number of bytes from 4096 to 2147483647",
            ),
        );
        check(
            "retention.ms",
            "a week",
            Some(
                "`a week` is not a value of `retention.ms`; write a number of milliseconds, or -1 for no limit",
            ),
        );
    }

    #[test]
    fn a_topic_may_lift_the_limits_of_the_broker() {
        let mut config = BrokerConfig::new("127.0.0.1:0".parse().unwrap(), "unused");
        config.retention_bytes = Some(1000);
        let mut settings = TopicSettings::default();
        assert_eq!(settings.log_limits(&config).retention_bytes, Some(1000));
        settings.set("retention.bytes", Some("-1")).unwrap();
        settings.set("retention.ms", Some("5")).unwrap();
        let limits = settings.log_limits(&config);
        assert_eq!(limits.retention_bytes, None);
        assert_eq!(limits.retention, Some(Duration::from_millis(5)));
    }
}

"""One module per client library, all with the same functions:

create_topic(bootstrap, topic, partitions)
partitions(bootstrap, topic) -> int
produce(bootstrap, topic, partition, payloads, codec)   idempotent where the library can
member(bootstrap, group, topic, report)                 reads and commits for ever; calls
    report("assigned", [partition, ...]) and report("record", [partition, offset, payload])
committed(bootstrap, group, topic, partitions) -> {partition: offset}
members(bootstrap, group) -> int                        as the group's description says
"""

SESSION_TIMEOUT_MS = 6000
HEARTBEAT_INTERVAL_MS = 500

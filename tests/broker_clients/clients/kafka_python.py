"""kafka-python, which is Python throughout."""

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from . import HEARTBEAT_INTERVAL_MS, SESSION_TIMEOUT_MS


def create_topic(bootstrap, topic, partitions):
    with admin(bootstrap) as client:
        client.create_topics([NewTopic(topic, partitions, 1)])


def partitions(bootstrap, topic):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    try:
        return len(consumer.partitions_for_topic(topic))
    finally:
        consumer.close()


def produce(bootstrap, topic, partition, payloads, codec):
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        compression_type=None if codec == "none" else codec,
        enable_idempotence=True,
        linger_ms=5,
    )
    sent = [producer.send(topic, payload, partition=partition) for payload in payloads]
    producer.flush(60)
    for one in sent:
        one.get(timeout=60)
    producer.close()


def member(bootstrap, group, topic, report):
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
    )

    consumer.subscribe([topic])
    assigned = None
    while True:
        polled = consumer.poll(timeout_ms=100)
        now = sorted(part.partition for part in consumer.assignment())
        if now != assigned:
            assigned = now
            report("assigned", now)
        if polled:
            consumer.commit()
        for records in polled.values():
            for record in records:
                report("record", [record.partition, record.offset, record.value.decode()])


def committed(bootstrap, group, topic, partitions):
    with admin(bootstrap) as client:
        answer = client.list_group_offsets(group)
    offsets = answer.get(group, answer)
    return {part.partition: found.offset for part, found in offsets.items() if part.topic == topic}


def members(bootstrap, group):
    with admin(bootstrap) as client:
        listed = client.list_groups()
        if group not in str(listed):
            raise RuntimeError(f"{group} is not listed: {listed}")
        description = client.describe_groups([group])[group]
    return len(description["members"])


def admin(bootstrap):
    return KafkaAdminClient(bootstrap_servers=bootstrap)

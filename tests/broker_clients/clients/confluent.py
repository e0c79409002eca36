"""confluent-kafka, which is librdkafka."""

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from . import HEARTBEAT_INTERVAL_MS, SESSION_TIMEOUT_MS


def create_topic(bootstrap, topic, partitions):
    client = admin(bootstrap)
    client.create_topics([NewTopic(topic, partitions, 1)])[topic].result(30)


def partitions(bootstrap, topic):
    return len(admin(bootstrap).list_topics(topic, 30).topics[topic].partitions)


def produce(bootstrap, topic, partition, payloads, codec):
    faults = []

    def delivered(fault, _message):
        if fault is not None:
            faults.append(fault)

    producer = Producer(
        {"bootstrap.servers": bootstrap, "compression.type": codec, "enable.idempotence": True}
    )
    for payload in payloads:
        producer.produce(topic, payload, partition=partition, on_delivery=delivered)
        producer.poll(0)
    if producer.flush(60) or faults:
        raise RuntimeError(f"not delivered: {faults[:3]}")


def member(bootstrap, group, topic, report):
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": HEARTBEAT_INTERVAL_MS,
        }
    )
    consumer.subscribe([topic])
    assigned = None
    while True:
        message = consumer.poll(0.1)
        now = sorted(part.partition for part in consumer.assignment())
        if now != assigned:
            assigned = now
            report("assigned", now)
        if message is None:
            continue
        if message.error():
            raise RuntimeError(message.error())
        consumer.commit(message, asynchronous=False)
        report("record", [message.partition(), message.offset(), message.value().decode()])


def committed(bootstrap, group, topic, partitions):
    wanted = [TopicPartition(topic, partition) for partition in range(partitions)]
    asked = ConsumerGroupTopicPartitions(group, wanted)
    client = admin(bootstrap)
    answer = client.list_consumer_group_offsets([asked])[group].result(30)
    return {part.partition: part.offset for part in answer.topic_partitions if part.offset >= 0}


def members(bootstrap, group):
    client = admin(bootstrap)
    listed = client.list_consumer_groups().result(30).valid
    if group not in [one.group_id for one in listed]:
        raise RuntimeError(f"{group} is not listed: {listed}")
    return len(client.describe_consumer_groups([group])[group].result(30).members)


def admin(bootstrap):
    """To be kept in a variable: its futures fail when it is dropped before they are done."""
    return AdminClient({"bootstrap.servers": bootstrap})

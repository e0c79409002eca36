"""aiokafka, which is asyncio."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from . import HEARTBEAT_INTERVAL_MS, SESSION_TIMEOUT_MS


def create_topic(bootstrap, topic, partitions):
    async def work(admin):
        await admin.create_topics([NewTopic(topic, partitions, 1)])

    asyncio.run(with_admin(bootstrap, work))


def partitions(bootstrap, topic):
    async def work(admin):
        return len((await admin.describe_topics([topic]))[0]["partitions"])

    return asyncio.run(with_admin(bootstrap, work))


def produce(bootstrap, topic, partition, payloads, codec):
    async def work():
        producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            compression_type=None if codec == "none" else codec,
            enable_idempotence=True,
        )
        await producer.start()
        try:
            sent = [await producer.send(topic, payload, partition=partition) for payload in payloads]
            await asyncio.wait_for(asyncio.gather(*sent), 60)
        finally:
            await producer.stop()

    asyncio.run(work())


def member(bootstrap, group, topic, report):
    async def work():
        consumer = AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        )
        await consumer.start()
        assigned = None
        while True:
            polled = await consumer.getmany(timeout_ms=100)
            now = sorted(part.partition for part in consumer.assignment())
            if now != assigned:
                assigned = now
                report("assigned", now)
            if polled:
                await consumer.commit()
            for records in polled.values():
                for record in records:
                    report("record", [record.partition, record.offset, record.value.decode()])

    asyncio.run(work())


def committed(bootstrap, group, topic, partitions):
    async def work(admin):
        offsets = await admin.list_consumer_group_offsets(group)
        return {part.partition: found.offset for part, found in offsets.items() if part.topic == topic}

    return asyncio.run(with_admin(bootstrap, work))


def members(bootstrap, group):
    async def work(admin):
        listed = await admin.list_consumer_groups()
        if group not in [one[0] for one in listed]:
            raise RuntimeError(f"{group} is not listed: {listed}")
        described = (await admin.describe_consumer_groups([group]))[0].to_object()
        return len(described["groups"][0]["members"])

    return asyncio.run(with_admin(bootstrap, work))


async def with_admin(bootstrap, work):
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        return await work(admin)
    finally:
        await admin.close()

//! Delivery: from chunks of encoded events to acknowledged positions.
//!
//! The courier owns the one producer. A worker ships a chunk through the link in use; delivery
//! reports come back to the lane that the chunk belongs to. When a message fails, the link is given
//! up, a new one is made, and every lane starts over from its acknowledged position, so that nothing
//! overtakes what failed. Owns ACK-2: acknowledged means in the topic.
//!
//! Survives: no broker at the start, brokers that go away and come back, a topic that is missing or
//! created anew, batches and messages that the broker finds too large; and of several brokers one
//! that cannot be reached costs the partitions of the others nothing.

mod courier;
mod keeper;
mod lane;
mod listener;
mod open;
mod shared;
mod shares;

pub(crate) use courier::{Courier, ShipError, Shipment};
pub(crate) use lane::{GUARD_BYTES, Guard, Lane, Position, Resume, content_hash};

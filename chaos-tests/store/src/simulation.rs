//! Time and network of the simulated machines, as worlds of every sort have them.

use std::ops::RangeInclusive;
use std::time::Duration;
use turmoil::Sim;

/// Messages usually take from 1 ms to this.
pub const USUAL_LATENCY: Duration = Duration::from_millis(4);
/// Ports that a host connects from, one after the other. Turmoil panics when they have come round and a peer that was
/// cut off still holds the same one open: so many last for a world.
const EPHEMERAL_PORTS: RangeInclusive<u16> = 16_384..=65_535;

/// Without machines yet. Time goes on in steps of `tick`, for `limit` at most.
pub fn simulation<'a>(seed: u64, limit: Duration, tick: Duration) -> Sim<'a> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(limit)
        .tick_duration(tick)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(USUAL_LATENCY)
        .tcp_capacity(65_536)
        .ephemeral_ports(EPHEMERAL_PORTS)
        .build()
}

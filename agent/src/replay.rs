//! A recorded stream through the pipeline: no kernel, no clock, always the same spans (but for
//! their ids).

use std::io::BufRead;
use std::sync::{Arc, Mutex};

use crate::discover::host::Clock;
use crate::event::stream::{Reader, StreamError};
use crate::event::{Event, MonoNs};
use crate::flow;
use crate::identities::Recorded;
use crate::metrics::Store;
use crate::pipeline::{Figures, Outputs, Pipeline, TakeSpans};
use crate::span::assemble::Assembler;
use crate::span::route::Routes;

/// Events of one round. The live reader works in rounds too.
const ROUND: usize = 256;

/// Ends of connections that are kept.
const MAX_ENDS: usize = 65_536;

/// Sends a stream through the pipeline. Times of spans are those of the recorded monotonic clock.
pub fn replay<R: BufRead>(
    stream: Reader<R>,
    routes: Vec<Routes>,
    store: Arc<Mutex<Store>>,
    takers: Vec<Box<dyn TakeSpans>>,
) -> Result<Figures, StreamError> {
    let assembler = Assembler::new(routes, MAX_ENDS);
    let mut pipeline =
        Pipeline::new(flow::Limits::default(), assembler, Outputs { store, slo: None, takers });
    let mut identities = Recorded::default();
    let clock = Clock::fixed(0, 0);
    let mut now: MonoNs = 0;
    let mut in_round = 0;
    for event in stream {
        let event = event?;
        now = now.max(time_of(&event));
        identities.event(&event);
        pipeline.event(&event);
        in_round += 1;
        if in_round == ROUND {
            in_round = 0;
            pipeline.expire_lookups(now, 0);
            pipeline.settle(now, &clock, &mut identities, |_, _| {});
        }
    }
    pipeline.finish(now, &clock, &mut identities);
    Ok(pipeline.figures())
}

/// When an event was recorded; 0 for what is told of a process.
pub(crate) fn time_of(event: &Event<'_>) -> MonoNs {
    match event {
        Event::Open(open) => open.time_ns,
        Event::Data(data) => data.exit_ns,
        Event::Close(close) => close.time_ns,
        Event::Datagram(datagram) => datagram.exit_ns,
        Event::Exec(exec) => exec.time_ns,
        Event::Fork(fork) => fork.time_ns,
        Event::Exit(exit) => exit.time_ns,
        Event::Resolved(resolved) => resolved.exit_ns,
        Event::Environment(environment) => environment.time_ns,
        Event::Identity(_) => 0,
    }
}

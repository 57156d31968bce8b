//! Everything that is offered is sent or counted as dropped, whatever the receiver does.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use super::receiver::{Answer, Receiver, silent_port};
use super::{PROTOCOLS, eventually, process, settings, spans, start};
use crate::export::otlp::{Compression, DropReason, FLUSH_DEADLINE};

#[tokio::test]
async fn all_services_travel_in_one_request_over_one_connection() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::start().await;
        let otlp = start(&settings(receiver.port, protocol));
        let (api, web) = (process(1, "api"), process(2, "web"));
        let traces = otlp.traces().unwrap();
        let mut all = spans(&api, 0..3);
        all.extend(spans(&web, 3..5));
        all.extend(spans(&api, 5..6));
        traces.offer(&mut all);
        assert!(all.is_empty());
        let log = &receiver.log;
        eventually("first request", || log.numbers().len() == 6).await;
        traces.offer(&mut spans(&web, 6..7));
        let counters = otlp.shutdown(FLUSH_DEADLINE).await;

        assert_eq!(counters.traces.sent(), 7);
        assert_eq!(counters.traces.queued(), 0);
        assert_eq!(counters.traces.dropped_total(), 0);
        assert_eq!(log.numbers(), [0, 1, 2, 5, 3, 4, 6]);
        assert_eq!(log.connections.load(SeqCst), 1, "{protocol:?}");
        assert_eq!(log.traces.lock().unwrap()[0].resource_spans.len(), 2);
        assert!(log.tokens.lock().unwrap().iter().all(|token| token == "a,b"));
    }
}

#[tokio::test]
async fn compressed_requests_arrive() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::start().await;
        let mut settings = settings(receiver.port, protocol);
        settings.traces.as_mut().unwrap().compression = Compression::Gzip;
        let otlp = start(&settings);
        otlp.traces().unwrap().offer(&mut spans(&process(1, "api"), 0..500));
        let counters = otlp.shutdown(FLUSH_DEADLINE).await;
        assert_eq!(counters.traces.sent(), 500);
        assert_eq!(receiver.log.numbers().len(), 500);
    }
}

#[tokio::test]
async fn a_request_is_sent_again_until_it_is_taken() {
    for protocol in PROTOCOLS {
        let script = [
            Answer::Unavailable,
            Answer::Delay(Duration::from_hours(1)),
            Answer::Unavailable,
            Answer::Throttle(0),
        ];
        let receiver = Receiver::with_script(script).await;
        receiver.log.resets.store(2, SeqCst);
        let mut settings = settings(receiver.port, protocol);
        settings.traces.as_mut().unwrap().timeout = Duration::from_millis(500);
        let otlp = start(&settings);
        otlp.traces().unwrap().offer(&mut spans(&process(1, "api"), 0..10));
        let counters = otlp.counters();
        eventually("delivery", || counters.traces.sent() == 10).await;
        assert_eq!(receiver.log.numbers(), (0..10).collect::<Vec<_>>());
        assert!(counters.traces.retries() >= 6, "{protocol:?}: {}", counters.traces.retries());
        assert_eq!(counters.traces.dropped_total(), 0);
        otlp.shutdown(FLUSH_DEADLINE).await;
    }
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::with_script([Answer::Throttle(1)]).await;
        let otlp = start(&settings(receiver.port, protocol));
        otlp.traces().unwrap().offer(&mut spans(&process(1, "api"), 0..1));
        let log = &receiver.log;
        eventually("delivery", || !log.numbers().is_empty()).await;
        let times = log.times.lock().unwrap().clone();
        assert!(times[1] - times[0] >= Duration::from_secs(1), "{protocol:?}");
        otlp.shutdown(FLUSH_DEADLINE).await;
    }
}

#[tokio::test]
async fn what_is_refused_or_rejected_is_counted() {
    for protocol in PROTOCOLS {
        let receiver = Receiver::with_script([Answer::Refuse, Answer::Partial(3)]).await;
        let otlp = start(&settings(receiver.port, protocol));
        let traces = otlp.traces().unwrap();
        let counters = otlp.counters();
        let api = process(1, "api");
        traces.offer(&mut spans(&api, 0..4));
        eventually("refusal", || counters.traces.dropped(DropReason::ExportFailed) == 4).await;
        traces.offer(&mut spans(&api, 4..14));
        eventually("part", || counters.traces.sent() == 7).await;
        assert_eq!(counters.traces.dropped(DropReason::Rejected), 3);
        assert_eq!(counters.traces.offered(), 14);
        otlp.shutdown(FLUSH_DEADLINE).await;
    }
}

#[tokio::test]
async fn what_fits_waits_for_the_receiver_and_the_oldest_make_room() {
    for protocol in PROTOCOLS {
        let (socket, port) = silent_port();
        let mut settings = settings(port, protocol);
        settings.queue.spans = 1_000;
        settings.queue.batch_spans = 400;
        let otlp = start(&settings);
        let traces = otlp.traces().unwrap();
        let counters = otlp.counters();
        let api = process(1, "api");
        traces.offer(&mut spans(&api, 0..700));
        // Some spans are held for a request by now.
        eventually("tries", || counters.traces.retries() >= 2).await;
        for start in (700..3_000).step_by(100) {
            traces.offer(&mut spans(&api, start..start + 100));
        }
        let dropped = || counters.traces.dropped(DropReason::QueueFull);
        eventually("drops", || dropped() == 2_000).await;
        assert_eq!(counters.traces.queued(), 1_000);

        let receiver = Receiver::on(socket.listen(16).unwrap(), []);
        eventually("delivery", || counters.traces.sent() == 1_000).await;
        let log = &receiver.log;
        assert_eq!(log.numbers(), (2_000..3_000).collect::<Vec<_>>(), "{protocol:?}");
        assert_eq!(counters.traces.offered(), 3_000);
        assert_eq!(dropped(), 2_000);
        eventually("an empty queue", || counters.traces.queued() == 0).await;
        otlp.shutdown(FLUSH_DEADLINE).await;
    }
}

#[tokio::test]
async fn bytes_bound_the_queue_and_each_request() {
    let receiver = Receiver::start().await;
    let otlp = start(&settings(receiver.port, PROTOCOLS[0]));
    let api = process(1, "api");
    let mut large = spans(&api, 0..2_000);
    for span in &mut large {
        let crate::protocol::Call::Http(call) = &mut span.call else { panic!("no HTTP call") };
        call.path = "/x".repeat(4_000).into();
    }
    // 16 MB in requests of at most 4 MiB: the receiver refuses larger ones.
    otlp.traces().unwrap().offer(&mut large);
    let counters = otlp.shutdown(FLUSH_DEADLINE).await;
    assert_eq!(counters.traces.sent(), 2_000);

    let (_socket, port) = silent_port();
    let mut settings = settings(port, PROTOCOLS[0]);
    settings.queue.bytes = 1 << 20;
    let otlp = start(&settings);
    for _ in 0..100 {
        otlp.traces().unwrap().offer(&mut spans(&api, 0..100));
    }
    let counters = otlp.counters();
    assert!(counters.traces.queued() * 512 <= 1 << 20, "{}", counters.traces.queued());
    let counters = otlp.shutdown(Duration::ZERO).await;
    assert_eq!(counters.traces.dropped_total(), 10_000);
}

#[tokio::test]
async fn the_last_flush_has_its_time_and_no_more() {
    for protocol in PROTOCOLS {
        let (_socket, port) = silent_port();
        let otlp = start(&settings(port, protocol));
        let traces = otlp.traces().unwrap();
        let api = process(1, "api");
        traces.offer(&mut spans(&api, 0..10));
        let counters = otlp.shutdown(Duration::from_millis(200)).await;
        assert_eq!(counters.traces.dropped(DropReason::Shutdown), 10);
        traces.offer(&mut spans(&api, 0..5));
        assert_eq!(counters.traces.dropped(DropReason::Shutdown), 15);
        assert_eq!(counters.traces.offered(), 15);
        assert_eq!(counters.traces.queued(), 0);
    }
}

//! Bytes that mean harm: no panic, bounded memory, an end of the effort.

use super::*;

/// Streams of commands and answers, of which parts are changed, cut and left out.
#[test]
fn hostile_bytes() {
    let commands: Vec<String> = [
        "GET a",
        "SET a b",
        "SUBSCRIBE a b",
        "MULTI",
        "EXEC",
        "CLIENT REPLY SKIP",
        "UNSUBSCRIBE",
        "BLPOP l 0",
        "SELECT 3",
        "XREAD BLOCK 5 STREAMS a 0",
        "RESET",
    ]
    .iter()
    .map(|words| command(words))
    .collect();
    let answers = [
        "+OK\r\n",
        "$3\r\nabc\r\n",
        "*2\r\n$9\r\nsubscribe\r\n:1\r\n",
        "-ERR x\r\n",
        "%1\r\n+a\r\n+b\r\n",
        "*?\r\n.\r\n",
        "$?\r\n;1\r\na\r\n;0\r\n",
        "*1\r\n",
        ">1\r\n+x\r\n",
        "|1\r\n+a\r\n+b\r\n",
        "+QUEUED\r\n",
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nb\r\n",
        "$9999999999\r\n",
        "*9999999999\r\n",
    ];
    let mut random = Random(3);
    let mut bytes = 0;
    while bytes < 10_000_000 {
        let mut talk = talk(
            if random.below(2) == 0 { Role::Server } else { Role::Client },
            random.below(2) == 0,
        );
        for _ in 0..random.below(300) {
            let is_request = random.below(2) == 0;
            let mut part: Vec<u8> = (0..random.below(40))
                .flat_map(|_| match random.below(60) {
                    0 => (0..random.below(100))
                        .map(|_| u8::try_from(random.below(256)).unwrap())
                        .collect(),
                    _ if is_request => commands[random.below(commands.len())].clone().into_bytes(),
                    _ => answers[random.below(answers.len())].as_bytes().to_vec(),
                })
                .collect();
            if !part.is_empty() && random.below(4) == 0 {
                let place = random.below(part.len());
                part[place] = u8::try_from(random.below(256)).unwrap();
            }
            bytes += part.len();
            let cut = random.below(part.len() + 1);
            let (first, second) = part.split_at(cut);
            let gap = match random.below(20) {
                0 => Piece::Skipped(random.below(100) as u64),
                1 => Piece::Lost(Some(random.below(100) as u64)),
                2 => Piece::Lost(None),
                _ => Piece::Skipped(0),
            };
            let direction = if is_request == (random.below(20) > 0) {
                Direction::Received
            } else {
                Direction::Sent
            };
            talk.pieces(direction, &[Piece::Bytes(first), gap, Piece::Bytes(second)]);
            assert!(talk.parser.memory() < 400_000, "{}", talk.parser.memory());
            match random.below(200) {
                0 => talk.parser.mark_lossy(),
                1 => talk.parser.abandon(talk.now, &mut talk.heard),
                2 => talk.parser.settle(u64::MAX, &mut talk.heard),
                3 => talk.end(End::Received),
                _ => {}
            }
        }
        talk.end(End::Both { reset: random.below(2) == 0 });
        assert!(talk.parser.is_over() && !talk.parser.is_waiting());
        assert!(talk.heard.exchanges.iter().all(|exchange| exchange.end_ns >= exchange.start_ns));
    }
}

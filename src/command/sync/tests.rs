//! What `sync` prints of the spool.

use super::*;
use crate::queue::drain::Waiting;
use crate::queue::spool::retry::Pause;
use mlflow_store::ids::TraceId;
use mlflow_store::target::Target;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn the_table_shows_the_state_of_each_entry_and_no_secret() {
    let listed = |id: &str, target, bytes, state| Listed {
        id: id.into(),
        path: "/spool/x".into(),
        trace: TraceId([7; 16]),
        target,
        bytes,
        put_at: Some(at(1000)),
        state,
    };
    let server = Some(Target::Http("https://user:secret@host".into()));
    let database = Some(Target::Sqlite("/a\u{1b}[2J.db".into()));
    let rest = Pause {
        failures: 3,
        since: at(90_000),
        until: at(91_200),
        reason: "refused: https://user:secret@host\r".into(),
    };
    let all = [
        listed("0000aaaa", server.clone(), 123, EntryState::Paused(rest)),
        listed("0000bbbb", database, 45_678_901, EntryState::Waits),
        listed("0000cccc", None, 5_000, EntryState::Unreadable("an entry of version 9".into())),
        listed("0000dddd", server, 1, EntryState::Quarantined("too large".into())),
    ];
    let trace = "tr-07070707070707070707070707070707";
    let expected = format!(
        r"ID        TRACE                                SIZE     AGE   TRIES  LAST TRY    NEXT TRY     TARGET
0000aaaa  {trace}  123 B    24 h  3      10 min ago  in 10 min    https://…@host
          refused: https://…@host\u{{d}}
0000bbbb  {trace}  45.7 MB  24 h  0      -           next launch  sqlite:////a\u{{1b}}[2J.db
          not tried since it was put
0000cccc  {trace}  5 kB     24 h  -      -           -            -
          an entry of version 9
0000dddd  {trace}  1 B      24 h  -      -           set aside    https://…@host
          too large
"
    );
    assert_eq!(table(&all, at(90_600)), expected);
}

#[test]
fn times_and_sizes_have_a_fitting_unit() {
    for (seconds, expected) in
        [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h"), (172_800, "2 d")]
    {
        assert_eq!(duration(Duration::from_secs(seconds)), expected);
    }
    assert_eq!(span(at(5), at(3)), "0 s");
    for (bytes, expected) in [(999, "999 B"), (1_000, "1 kB"), (999_999, "999 kB"), (1_250_000, "1.2 MB")] {
        assert_eq!(size(bytes), expected);
    }
}

#[test]
fn anything_left_is_a_failure() {
    let waiting = |count| Drained {
        waiting: vec![Waiting { path: "/x".into(), reason: "away".into() }; count],
        ..Drained::default()
    };
    let elsewhere = Drained { is_elsewhere: true, ..Drained::default() };
    let table = [
        (waiting(0), 0, vec![], None),
        (waiting(2), 0, vec![], Some("2 still waiting")),
        (waiting(2), 1, vec![], Some("2 still waiting")),
        (waiting(0), 1, vec![], Some("1 set aside")),
        (elsewhere, 0, vec![], Some("another codex-traced is delivering")),
        (
            waiting(0),
            0,
            vec![Unfinished { reason: "full".into(), wants_room: true }],
            Some("1 launches could not be finished: full"),
        ),
    ];
    for (drained, aside, unfinished, expected) in table {
        let failure = left(&drained, aside, &unfinished);
        let first = failure.as_deref().and_then(|text| text.lines().next());
        assert_eq!(first, expected, "{drained:?} {aside} {unfinished:?}");
    }
}

//! Batches of traces, and the fallback to single ones.

use super::*;

#[test]
fn traces_for_one_local_target_go_in_batches_each_with_its_receipt() {
    let fixture = Fixture::new();
    let place = local("/a.db");
    (1..=40).for_each(|thread| fixture.put(thread, &place, 1));
    fixture.put(50, &local("/b.db"), 1);
    (51..=53).for_each(|thread| fixture.put(thread, &remote("http://a"), 1));
    assert_eq!(fixture.counts(), (44, 0, 0));
    assert_eq!(*fixture.together.borrow(), [32, 8]);
    let receipts = Receipts::new(fixture.folder.path().join("receipts"));
    for thread in 1..=40 {
        let sent = entry(thread, place.clone(), 1).trace;
        let receipt = Receipt::from_trace(place.clone(), "1".into(), at(1_000_000), &sent);
        assert_eq!(receipts.get(sent.id, &place).map(|kept| kept.receipt), Some(receipt));
    }
}

#[test]
fn traces_of_a_refused_batch_are_tried_one_by_one() {
    let fixture = Fixture::new();
    for (thread, ended) in [(1, 1), (2, 13), (3, 1)] {
        fixture.put(thread, &local("/a.db"), ended);
    }
    assert_eq!(fixture.counts(), (3, 0, 0));
    // A batch is split too if the target already has a newer form of one trace.
    for (thread, ended) in [(1, 2), (2, 5), (3, 2)] {
        fixture.put(thread, &local("/a.db"), ended);
    }
    assert_eq!(fixture.counts(), (2, 0, 0));
    assert_eq!(*fixture.together.borrow(), [3]);
}

//! Batches of traces, and the fallback to single ones.

use super::*;

#[test]
fn traces_for_one_local_target_go_in_batches_each_with_its_receipt() {
    let yard = Yard::new();
    let place = local("/a.db");
    (1..=40).for_each(|thread| yard.put(thread, &place, 1));
    yard.put(50, &local("/b.db"), 1);
    (51..=53).for_each(|thread| yard.put(thread, &remote("http://a"), 1));
    assert_eq!(yard.counts(), (44, 0, 0));
    assert_eq!(*yard.together.borrow(), [32, 8]);
    let receipts = Receipts::at(yard.folder.path().join("receipts"));
    for thread in 1..=40 {
        let sent = entry(thread, place.clone(), 1).trace;
        let receipt = Receipt::of_trace(place.clone(), "1".into(), at(1_000_000), &sent);
        assert_eq!(receipts.of(sent.id, &place).map(|kept| kept.receipt), Some(receipt));
    }
}

#[test]
fn traces_of_a_refused_batch_are_tried_one_by_one() {
    let yard = Yard::new();
    for (thread, ended) in [(1, 1), (2, 13), (3, 1)] {
        yard.put(thread, &local("/a.db"), ended);
    }
    assert_eq!(yard.counts(), (3, 0, 0));
    // A batch is split too if the target already has a newer form of one trace.
    for (thread, ended) in [(1, 2), (2, 5), (3, 2)] {
        yard.put(thread, &local("/a.db"), ended);
    }
    assert_eq!(yard.counts(), (2, 0, 0));
    assert_eq!(*yard.together.borrow(), [3]);
}

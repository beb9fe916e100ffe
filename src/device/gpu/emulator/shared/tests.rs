use super::*;
use crate::ptx::SHARED_BASE;

fn block() -> Shared {
    let mut shared = Shared::new(SHARED_BASE + 256, 1, Agents { warps: 2, later: false }, true);
    shared.reset();
    shared
}

#[test]
fn a_barrier_makes_order() {
    let mut shared = block();
    let at = SHARED_BASE;
    assert_eq!(shared.note_read(at, 4, (0, 1, 0)), Err(Conflict::Uninitialized(at)));
    assert_eq!(shared.note_write(at, 4, (0, 1, 3), false), Ok(()));
    let race = shared.note_read(at, 4, (1, 2, 0));
    assert!(matches!(race, Err(Conflict::Race(place, tag, true)) if place == at && tag.lane() == 3));
    shared.join(&[0, 1]);
    assert_eq!(shared.note_read(at, 4, (1, 2, 0)), Ok(()));
    assert!(matches!(shared.note_write(at, 4, (0, 3, 0), false), Err(Conflict::Race(_, _, false))));
    assert_eq!(shared.note_read(at, 4, (0, 2, 0)), Ok(()));
    assert!(matches!(shared.note_write(at, 4, (0, 3, 0), false), Err(Conflict::Race(_, _, false))));
    shared.join(&[0, 1]);
    assert_eq!(shared.note_write(at, 4, (0, 3, 0), false), Ok(()));
}

#[test]
fn bytes_of_one_word_are_neighbours_and_atomics_do_not_collide() {
    let mut shared = block();
    let at = SHARED_BASE;
    assert_eq!(shared.note_write(at, 1, (0, 1, 0), false), Ok(()));
    assert_eq!(shared.note_write(at + 1, 1, (1, 1, 0), false), Ok(()));
    assert_eq!(shared.note_write(at + 8, 4, (0, 1, 0), false), Ok(()));
    shared.join(&[0, 1]);
    assert_eq!(shared.note_write(at + 8, 4, (0, 1, 0), true), Ok(()));
    assert_eq!(shared.note_write(at + 8, 4, (1, 1, 0), true), Ok(()));
    assert!(matches!(shared.note_read(at + 8, 4, (0, 1, 0)), Err(Conflict::Race(..))));
}

/// Also when they were written before: what counts is who writes them now.
#[test]
fn neighbours_are_written_again_and_again() {
    for later in [false, true] {
        let mut shared = Shared::new(SHARED_BASE + 256, 1, Agents { warps: 2, later }, true);
        shared.reset();
        let at = SHARED_BASE;
        for _ in 0..3 {
            assert_eq!(shared.note_write(at, 2, (0, 1, 0), false), Ok(()));
            assert_eq!(shared.note_write(at + 2, 2, (1, 1, 0), false), Ok(()));
            assert_eq!(shared.note_write(at, 2, (0, 1, 0), false), Ok(()));
            let race = shared.note_write(at, 2, (1, 2, 0), false);
            assert!(matches!(race, Err(Conflict::Race(..))), "{later} {race:?}");
            shared.join(&[0, 1]);
        }
        // Two halves by one warp, one behind the other, are both its own.
        assert_eq!(shared.note_write(at, 2, (0, 1, 0), false), Ok(()));
        assert_eq!(shared.note_write(at + 2, 2, (0, 1, 1), false), Ok(()));
        for half in [at, at + 2] {
            assert!(matches!(shared.note_write(half, 2, (1, 2, 0), false), Err(Conflict::Race(..))));
        }
    }
}

#[test]
fn an_atomic_reads_what_it_changes_and_collides_with_plain_reads() {
    let mut shared = block();
    let at = SHARED_BASE;
    assert_eq!(shared.note_write(at, 4, (0, 1, 0), true), Err(Conflict::Uninitialized(at)));
    assert_eq!(shared.note_write(at, 4, (0, 1, 0), false), Ok(()));
    shared.join(&[0, 1]);
    assert_eq!(shared.note_write(at, 4, (0, 2, 0), true), Ok(()));
    assert_eq!(shared.note_read(at, 4, (0, 3, 0)), Ok(()));
    assert!(matches!(shared.note_write(at, 4, (1, 2, 0), true), Err(Conflict::Race(_, _, false))));
}

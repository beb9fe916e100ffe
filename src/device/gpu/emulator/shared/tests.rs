use super::*;
use crate::ptx::{Order, SHARED_BASE};

fn met<'a>(waited: &'a [usize], relaxed: &'a [usize]) -> Met<'a> {
    Met { waited, relaxed, past: &[], whole: true }
}

fn block() -> Shared {
    let mut shared = Shared::new(SHARED_BASE + 256, 1, Agents { warps: 2, later: false }, true, &[]);
    shared.reset();
    shared
}

#[test]
fn a_barrier_makes_order() {
    let mut shared = block();
    let at = SHARED_BASE;
    assert_eq!(shared.note_read(at, 4, (0, 1, 0)), Err(Conflict::Uninitialized(at)));
    assert_eq!(shared.note_write(at, 4, (0, 1, 3), Write::Plain), Ok(()));
    let race = shared.note_read(at, 4, (1, 2, 0));
    assert!(matches!(race, Err(Conflict::Race(place, tag, true)) if place == at && tag.lane() == 3));
    shared.join(met(&[0, 1], &[]));
    assert_eq!(shared.note_read(at, 4, (1, 2, 0)), Ok(()));
    assert!(matches!(shared.note_write(at, 4, (0, 3, 0), Write::Plain), Err(Conflict::Race(_, _, false))));
    assert_eq!(shared.note_read(at, 4, (0, 2, 0)), Ok(()));
    assert!(matches!(shared.note_write(at, 4, (0, 3, 0), Write::Plain), Err(Conflict::Race(_, _, false))));
    shared.join(met(&[0, 1], &[]));
    assert_eq!(shared.note_write(at, 4, (0, 3, 0), Write::Plain), Ok(()));
}

#[test]
fn bytes_of_one_word_are_neighbours_and_atomics_do_not_collide() {
    let mut shared = block();
    let at = SHARED_BASE;
    assert_eq!(shared.note_write(at, 1, (0, 1, 0), Write::Plain), Ok(()));
    assert_eq!(shared.note_write(at + 1, 1, (1, 1, 0), Write::Plain), Ok(()));
    assert_eq!(shared.note_write(at + 8, 4, (0, 1, 0), Write::Plain), Ok(()));
    shared.join(met(&[0, 1], &[]));
    assert_eq!(shared.note_write(at + 8, 4, (0, 1, 0), Write::Atomic), Ok(()));
    assert_eq!(shared.note_write(at + 8, 4, (1, 1, 0), Write::Atomic), Ok(()));
    assert!(matches!(shared.note_read(at + 8, 4, (0, 1, 0)), Err(Conflict::Race(..))));
}

/// Also when they were written before: what counts is who writes them now.
#[test]
fn neighbours_are_written_again_and_again() {
    for later in [false, true] {
        let mut shared = Shared::new(SHARED_BASE + 256, 1, Agents { warps: 2, later }, true, &[]);
        shared.reset();
        let at = SHARED_BASE;
        for _ in 0..3 {
            assert_eq!(shared.note_write(at, 2, (0, 1, 0), Write::Plain), Ok(()));
            assert_eq!(shared.note_write(at + 2, 2, (1, 1, 0), Write::Plain), Ok(()));
            assert_eq!(shared.note_write(at, 2, (0, 1, 0), Write::Plain), Ok(()));
            let race = shared.note_write(at, 2, (1, 2, 0), Write::Plain);
            assert!(matches!(race, Err(Conflict::Race(..))), "{later} {race:?}");
            shared.join(met(&[0, 1], &[]));
        }
        // Two halves by one warp, one behind the other, are both its own.
        assert_eq!(shared.note_write(at, 2, (0, 1, 0), Write::Plain), Ok(()));
        assert_eq!(shared.note_write(at + 2, 2, (0, 1, 1), Write::Plain), Ok(()));
        for half in [at, at + 2] {
            assert!(matches!(shared.note_write(half, 2, (1, 2, 0), Write::Plain), Err(Conflict::Race(..))));
        }
    }
}

#[test]
fn an_atomic_reads_what_it_changes_and_collides_with_plain_reads() {
    let mut shared = block();
    let at = SHARED_BASE;
    assert_eq!(shared.note_write(at, 4, (0, 1, 0), Write::Atomic), Err(Conflict::Uninitialized(at)));
    assert_eq!(shared.note_write(at, 4, (0, 1, 0), Write::Plain), Ok(()));
    shared.join(met(&[0, 1], &[]));
    assert_eq!(shared.note_write(at, 4, (0, 2, 0), Write::Atomic), Ok(()));
    assert_eq!(shared.note_read(at, 4, (0, 3, 0)), Ok(()));
    assert!(matches!(shared.note_write(at, 4, (1, 2, 0), Write::Atomic), Err(Conflict::Race(_, _, false))));
}

/// A volatile read asks for what volatile writes and atomics put there, whenever; it is not in the way of a later one.
#[test]
fn a_volatile_read_meets_volatile_writes_and_no_plain_ones() {
    let mut shared = block();
    let (flag, plain) = (SHARED_BASE, SHARED_BASE + 4);
    assert_eq!(shared.ask(flag, 4, 1), Err(Conflict::Uninitialized(flag)));
    for at in [flag, plain] {
        assert_eq!(shared.note_write(at, 4, (0, 1, 0), Write::Plain), Ok(()));
    }
    shared.join(met(&[0, 1], &[]));
    assert_eq!(shared.ask(flag, 4, 1), Ok(()));
    for write in [Write::Volatile, Write::Atomic] {
        assert_eq!(shared.note_write(flag, 4, (0, 2, 0), write), Ok(()));
        assert_eq!(shared.ask(flag, 4, 1), Ok(()));
    }
    assert_eq!(shared.note_write(plain, 4, (0, 2, 0), Write::Plain), Ok(()));
    assert!(matches!(shared.ask(plain, 4, 1), Err(Conflict::Race(_, _, true))));
}

/// What is over is over for everybody; what a thread wrote or read is not.
#[test]
fn a_relaxed_arrival_carries_what_was_waited_for_and_no_access_of_a_thread() {
    let agents = Agents { warps: 8, later: true };
    for relaxed in [false, true] {
        let mut shared = Shared::new(SHARED_BASE + 256, 1, agents, true, &[]);
        shared.reset();
        let (copied, written, made) = (SHARED_BASE, SHARED_BASE + 64, SHARED_BASE + 128);
        // Warp 0 reads what a copy brought, by a wgmma that it waits for, writes a word and makes an mbarrier.
        let load = agents.number(Agent::Load(3));
        assert_eq!(shared.note_flight(copied, 16, 0, Tag::new(1, load, 1, 0)), Ok(()));
        shared.land(copied, 16);
        shared.learn(0, Agent::Load(3), 1);
        shared.note_proxy([copied].into_iter(), Tag::new(1, agents.number(Agent::Wgmma(0)), 2, 0));
        shared.learn(0, Agent::Wgmma(0), 1);
        assert_eq!(shared.note_write(made, 8, (0, 3, 0), Write::Plain), Ok(()));
        shared.fence_inits(0);
        assert_eq!(shared.note_write(written, 4, (0, 4, 0), Write::Plain), Ok(()));
        assert!(shared.after_init(made, 5).is_err());
        let mut between = shared.ignorance();
        let carries = if relaxed { Carries::Over } else { Carries::All };
        shared.release(0, u32::MAX, &mut between, carries);
        shared.acquire(5, [&between; 2], Order::Block);
        // The stage may be filled again, and the barrier used.
        assert_eq!(shared.note_flight(copied, 16, 5, Tag::new(2, load, 5, 0)), Ok(()), "{relaxed}");
        assert_eq!(shared.after_init(made, 5), Ok(()), "{relaxed}");
        let read = shared.note_read(written, 4, (5, 6, 0));
        assert_eq!(matches!(read, Err(Conflict::Race(..))), relaxed, "{read:?}");
        // Nor is what is no mbarrier there for those who know its fence alone.
        assert_eq!(shared.after_init(written, 5).is_err(), relaxed);
    }
}

#[test]
fn of_those_who_meet_only_the_relaxed_keep_what_they_did_to_themselves() {
    let mut shared = Shared::new(SHARED_BASE + 256, 1, Agents { warps: 3, later: true }, true, &[]);
    shared.reset();
    for warp in 0..3 {
        assert_eq!(shared.note_write(SHARED_BASE + 4 * warp, 4, (warp as usize, 1, 0), Write::Plain), Ok(()));
    }
    shared.join(met(&[0, 1, 2], &[1]));
    assert_eq!(shared.note_read(SHARED_BASE, 4, (1, 2, 0)), Ok(()));
    assert_eq!(shared.note_read(SHARED_BASE + 8, 4, (1, 2, 0)), Ok(()));
    assert!(matches!(shared.note_read(SHARED_BASE + 4, 4, (2, 2, 0)), Err(Conflict::Race(..))));
    assert_eq!(shared.note_read(SHARED_BASE + 4, 4, (1, 2, 0)), Ok(()));
}

/// "Use memory fence prior to arrive" (PTX ISA, `barrier.cluster`): a relaxed arrival or wait with one is ordered, as far
/// as the fence reaches.
#[test]
fn a_fence_makes_relaxed_arrivals_and_waits_order() {
    let agents = Agents { warps: 8, later: true };
    let at = SHARED_BASE;
    for (fence, carries, order, ordered) in [
        (None, Carries::Fenced(Order::Cluster), Order::Cluster, false),
        (Some(Order::Block), Carries::Fenced(Order::Block), Order::Cluster, true),
        (Some(Order::Block), Carries::Fenced(Order::Cluster), Order::Cluster, false),
        (Some(Order::Cluster), Carries::Fenced(Order::Cluster), Order::Cluster, true),
        (Some(Order::Cluster), Carries::Over, Order::Cluster, false),
        // The wait is relaxed, too, and has a fence of the cluster's scope behind it.
        (Some(Order::Cluster), Carries::Fenced(Order::Cluster), Order::Relaxed, true),
    ] {
        let mut shared = Shared::new(SHARED_BASE + 256, 1, agents, true, &[]);
        shared.reset();
        assert_eq!(shared.note_write(at, 4, (0, 1, 0), Write::Plain), Ok(()));
        if let Some(scope) = fence {
            shared.fence_threads(0, u32::MAX, scope);
        }
        let mut between = shared.ignorance();
        shared.release(0, u32::MAX, &mut between, carries);
        shared.acquire(5, [&between; 2], order);
        if order == Order::Relaxed {
            assert!(shared.note_read(at, 4, (5, 2, 0)).is_err(), "not before the fence");
            shared.fence_threads(5, u32::MAX, Order::Cluster);
        }
        assert_eq!(shared.note_read(at, 4, (5, 2, 0)).is_ok(), ordered, "{fence:?} {carries:?} {order:?}");
        // Of what came behind the fence nothing is carried.
        assert_eq!(shared.note_write(at + 4, 4, (0, 1, 0), Write::Plain), Ok(()));
        assert!(shared.note_read(at + 4, 4, (5, 2, 0)).is_err());
    }
}

/// That a copy is over lets its place be filled again; to read what it brought one must know of it.
#[test]
fn a_relaxed_wait_does_not_bring_what_a_copy_brought() {
    let agents = Agents { warps: 8, later: true };
    let load = agents.number(Agent::Load(0));
    for order in [Order::Block, Order::Relaxed] {
        let mut shared = Shared::new(SHARED_BASE + 256, 1, agents, true, &[]);
        shared.reset();
        let at = SHARED_BASE;
        assert_eq!(shared.note_flight(at, 16, 0, Tag::new(1, load, 1, 0)), Ok(()));
        shared.land(at, 16);
        let mut done = shared.ignorance();
        (done[load], done[agents.over().start + load]) = (1, 1);
        shared.acquire(5, [&done; 2], order);
        assert_eq!(shared.note_read(at, 4, (5, 2, 0)).is_ok(), order == Order::Block);
        assert_eq!(shared.note_flight(at + 16, 16, 5, Tag::new(2, load, 1, 0)), Ok(()));
        if order == Order::Relaxed {
            assert_eq!(shared.note_flight(at, 16, 5, Tag::new(2, load, 1, 0)), Ok(()));
        }
    }
}

//! The order in which diverged parts of a warp run.
//!
//! In: blocks. Out: a priority for each. Lanes that wait at the lowest number run first; nvcc lays code
//! out so that this makes lanes meet where they must (at the branch's immediate post-dominator). That
//! is checked here for every branch; where the text's order does not have the property and reverse post-order
//! does ("thread frontiers", Diamos et al. 2011), blocks are numbered by that.

use super::program::{Block, EXIT, End};

/// Most steps of the check: far more than nvcc's largest kernels need, less than a second.
const STEPS: usize = 1 << 25;

/// Blocks that may follow.
pub(super) fn successors(block: &Block) -> impl Iterator<Item = usize> {
    let (one, two) = match block.end {
        End::Jump(to) => (to, EXIT),
        End::Branch { taken, next, .. } => (taken, next),
        End::Barrier { next, .. } => (next, EXIT),
    };
    [one, two].into_iter().filter(|&to| to != EXIT).map(|to| to as usize)
}

/// One number for each block; lanes at a lower one run first.
pub(super) fn priorities(blocks: &[Block]) -> Vec<u32> {
    let text: Vec<u32> = (0..blocks.len() as u32).collect();
    if meets_in_order(blocks, &text) {
        return text;
    }
    // Where neither order has the property, lanes still meet wherever an instruction needs them to (they wait
    // before it); they only run apart longer than they must.
    let other = reverse_post_order(blocks);
    if meets_in_order(blocks, &other) { other } else { text }
}

/// Blocks from the entry on, each before those that it leads to but for loops.
fn reverse_post_order(blocks: &[Block]) -> Vec<u32> {
    let mut steps = STEPS;
    let mut seen = vec![false; blocks.len()];
    let mut finished = Vec::new();
    let mut stack = vec![(0, false)];
    while let Some((at, done)) = stack.pop() {
        if done {
            finished.push(at);
        } else if !std::mem::replace(&mut seen[at], true) {
            stack.push((at, true));
            // A loop's way out is followed first, so that it comes last: after the body.
            let mut next: Vec<usize> = successors(&blocks[at]).filter(|&to| !seen[to]).collect();
            if next.len() == 2 {
                next.sort_by_key(|&to| !leads(blocks, to, at, &mut steps));
            }
            stack.extend(next.into_iter().map(|to| (to, false)));
        }
    }
    let mut order = vec![u32::MAX; blocks.len()];
    for (number, &block) in finished.iter().rev().enumerate() {
        order[block] = number as u32;
    }
    order
}

/// Whether lanes at `from` can come to `to`; no where it takes too long to say.
fn leads(blocks: &[Block], from: usize, to: usize, steps: &mut usize) -> bool {
    let mut seen = vec![false; blocks.len()];
    *steps = steps.saturating_sub(blocks.len() / 64);
    let mut stack = vec![from];
    while let Some(here) = stack.pop() {
        if here == to {
            return true;
        }
        *steps = steps.saturating_sub(1);
        if *steps == 0 {
            return false;
        }
        if !std::mem::replace(&mut seen[here], true) {
            stack.extend(successors(&blocks[here]).filter(|&next| !seen[next]));
        }
    }
    false
}

/// Whether every block between a branch and its immediate post-dominator has a lower number than that.
fn meets_in_order(blocks: &[Block], number: &[u32]) -> bool {
    let mut steps = STEPS;
    let Some(after) = post_dominators(blocks, &mut steps) else { return false };
    let mut seen = vec![usize::MAX; blocks.len()];
    for (at, block) in blocks.iter().enumerate() {
        let End::Branch { .. } = block.end else { continue };
        let Some(meet) = after[at] else { continue };
        let mut stack: Vec<usize> = successors(block).collect();
        while let Some(here) = stack.pop() {
            if here == meet || seen[here] == at {
                continue;
            }
            seen[here] = at;
            steps = steps.saturating_sub(1);
            if number[here] >= number[meet] || steps == 0 {
                return false;
            }
            stack.extend(successors(&blocks[here]));
        }
    }
    true
}

/// Each block's immediate post-dominator; none where that is the end of the thread. Nothing at all where
/// it takes too long.
/// Cooper, Harvey and Kennedy, "A Simple, Fast Dominance Algorithm", on the reversed graph.
fn post_dominators(blocks: &[Block], steps: &mut usize) -> Option<Vec<Option<usize>>> {
    let end = blocks.len();
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); end + 1];
    let leads = |at: usize| -> Vec<usize> {
        let exits = match blocks[at].end {
            End::Jump(to) => to == EXIT,
            End::Branch { taken, next, .. } => taken == EXIT || next == EXIT,
            End::Barrier { next, .. } => next == EXIT,
        };
        successors(&blocks[at]).chain(exits.then_some(end)).collect()
    };
    for at in 0..end {
        for to in leads(at) {
            before[to].push(at);
        }
    }
    // Post-order of the reversed graph, from the end.
    let mut rank = vec![usize::MAX; end + 1];
    let mut order = Vec::new();
    let mut stack = vec![(end, false)];
    let mut seen = vec![false; end + 1];
    while let Some((at, done)) = stack.pop() {
        if done {
            rank[at] = order.len();
            order.push(at);
        } else if !std::mem::replace(&mut seen[at], true) {
            stack.push((at, true));
            stack.extend(before[at].iter().filter(|&&from| !seen[from]).map(|&from| (from, false)));
        }
    }
    let mut parent = vec![usize::MAX; end + 1];
    parent[end] = end;
    let mut changed = true;
    while changed {
        changed = false;
        for &at in order.iter().rev().skip(1) {
            let mut meet = usize::MAX;
            for to in leads(at).into_iter().filter(|&to| parent[to] != usize::MAX) {
                meet = if meet == usize::MAX { to } else { common(meet, to, &parent, &rank, steps)? };
            }
            if meet != usize::MAX && parent[at] != meet {
                parent[at] = meet;
                changed = true;
            }
        }
    }
    Some((0..end).map(|at| Some(parent[at]).filter(|&to| to < end)).collect())
}

fn common(mut a: usize, mut b: usize, parent: &[usize], rank: &[usize], steps: &mut usize) -> Option<usize> {
    while a != b {
        *steps = steps.checked_sub(1)?;
        if rank[a] < rank[b] {
            a = parent[a];
        } else {
            b = parent[b];
        }
    }
    Some(a)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ptx::program::{Line, NO_GATE, NONE};

    fn block(end: End) -> Block {
        Block { ops: 0..0, end, line: Line { ptx: 1, place: None }, meet: NONE, gate: NO_GATE }
    }

    fn branch(taken: u32, next: u32) -> End {
        End::Branch { p: 0, inverted: false, taken, next }
    }

    #[test]
    fn the_texts_order_is_kept_where_lanes_meet_in_it() {
        // 0 → {1, 2} → 3
        let diamond = [branch(2, 1), End::Jump(3), End::Jump(3), End::Jump(EXIT)].map(block);
        assert_eq!(post_dominators(&diamond, &mut 100).unwrap()[0], Some(3));
        assert!(post_dominators(&diamond, &mut 1).is_none());
        assert_eq!(priorities(&diamond), [0, 1, 2, 3]);
    }

    #[test]
    fn a_loops_body_comes_before_its_way_out() {
        // 0 → 3; 3 is the head of a loop over 4, left for 2; one odd branch makes the text's order useless.
        let odd = [branch(3, 1), End::Jump(2), End::Jump(EXIT), branch(2, 4), End::Jump(3)].map(block);
        let order = priorities(&odd);
        assert!(order[4] < order[2] && order[3] < order[4], "{order:?}");
    }

    #[test]
    fn a_meeting_place_before_one_side_is_renumbered() {
        // 0 → {1, 3}, 3 → 2, 1 → 2: the meeting place 2 stands before the side 3.
        let odd = [branch(3, 1), End::Jump(2), End::Jump(EXIT), End::Jump(2)].map(block);
        let order = priorities(&odd);
        assert!(order[3] < order[2] && order[1] < order[2], "{order:?}");
    }
}

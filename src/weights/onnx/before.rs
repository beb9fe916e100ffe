//! What is done to images before the first layer: noted, not undone. The weights are as they are.

use super::data::Data;
use super::message::Node;
use super::names::Source;
use super::walk::{Stage, Walk};
use crate::error::Result;

/// Images have at most this many channels to put in another order.
const MAX_CHANNELS: usize = 4;

impl<'a> Walk<'a> {
    /// Arithmetic with something that is stored.
    pub(super) fn before(&mut self, node: &'a Node<'a>, op: &'a str, other: usize) -> Result<()> {
        match self.names.source(node, other)? {
            Source::Stored(_) => {
                self.preprocessing.push(op);
                Ok(())
            }
            _ => Err(self.refuse(node, "joins two ways, or takes what is not stored")),
        }
    }

    /// A cut of images, or another size.
    pub(super) fn cut(&mut self, op: &'a str) {
        self.preprocessing.push(op);
        self.data = Data::Input(None);
    }

    /// The `Concat` that puts the channels of `value` together again, if all that take `value` are cuts for it:
    /// RGB becomes BGR in `keras.applications.vgg16.preprocess_input`.
    pub(super) fn reordered(&mut self, value: &str) -> Option<usize> {
        let names = self.names;
        let takers = names.takers(value).filter(|takers| takers.count > 1 && self.stage == Stage::Start)?;
        let is = |at: usize, ops: &[&str]| {
            names.nodes.get(at).filter(|node| node.standard().is_some_and(|op| ops.contains(&op)))
        };
        // Down from the first cut …
        let cut = is(takers.first, &["Slice", "Gather"])?;
        let mut at = names.only_taker(cut.outputs.first()?)?;
        if let Some(between) = is(at, &["Unsqueeze"]) {
            at = names.only_taker(between.outputs.first()?)?;
        }
        let concat = is(at, &["Concat"]).filter(|concat| concat.inputs.len() <= MAX_CHANNELS)?;
        // … and up to every one of them, each a node of its own.
        let mut cuts = Vec::new();
        for input in &concat.inputs {
            let mut maker = names.maker(input)?;
            if let Some(between) = is(maker, &["Unsqueeze"]) {
                maker = names.maker(between.input(0)?)?;
            }
            let whole = is(maker, &["Slice", "Gather"])?.input(0) == Some(value);
            if !whole || cuts.contains(&maker) {
                return None;
            }
            cuts.push(maker);
        }
        if cuts.len() != takers.count {
            return None;
        }
        self.preprocessing.push("Slice");
        self.cut("Concat");
        Some(at)
    }
}

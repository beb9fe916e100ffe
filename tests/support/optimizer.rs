//! Optimizers: rows of the table, and what each rule means as loops in f64.
//!
//! Bounds follow the formulas: every operation adds half an EPS of its result, and what an operand was off
//! goes on by the operation's derivative.

use super::cases::{Reals, Source, case};
use super::close::{EPS, Near, TINY};
use super::run::{Case, Data, Make, Output};
use vgg_ft::device::call::{Adamw, Adjust, Keeps, ParameterUpdate, Rmsprop, Rule, Sgd};
use vgg_ft::device::{Buffer, Call};

/// A tensor on the host; a state that the rule does not keep is not looked at.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub gradient: Vec<f32>,
    pub weight: Vec<f32>,
    pub velocity: Vec<f32>,
    pub momentum: Vec<f32>,
    pub mean: Vec<f32>,
}

/// What is expected of it.
#[derive(Debug, Default)]
pub struct Stepped {
    pub weight: Vec<Near>,
    pub velocity: Vec<Near>,
    pub momentum: Vec<Near>,
    pub mean: Vec<Near>,
}

/// A number and how far from it an f32 device may be.
#[derive(Clone, Copy)]
struct About {
    x: f64,
    off: f64,
}

fn exactly(x: f32) -> About {
    About { x: f64::from(x), off: 0.0 }
}

impl About {
    /// After one rounding.
    fn new(x: f64, off: f64) -> Self {
        Self { x, off: off + EPS / 2.0 * (x.abs() + off) + TINY }
    }

    fn near(self) -> Near {
        Near { value: self.x, within: self.off }
    }

    fn sqrt(self) -> Self {
        // Near zero the derivative says nothing, but roots are no further apart than √ of the distance.
        let root = self.x.max(0.0).sqrt();
        Self::new(root, self.off.sqrt().min(0.5 * self.off / root))
    }
}

impl std::ops::Add for About {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self::new(self.x + other.x, self.off + other.off)
    }
}

impl std::ops::Sub for About {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self::new(self.x - other.x, self.off + other.off)
    }
}

impl std::ops::Mul for About {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let off = self.off * other.x.abs() + other.off * (self.x.abs() + self.off);
        Self::new(self.x * other.x, off)
    }
}

impl std::ops::Div for About {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let least = (other.x.abs() - other.off).max(f64::MIN_POSITIVE);
        let off = (self.off + (self.x / other.x).abs() * other.off) / least;
        Self::new(self.x / other.x, off)
    }
}

/// A number of the rule in f64, rounded to f32 for the device.
fn rounded(x: f64) -> About {
    About::new(x, 0.0)
}

/// One step by `rule`, the `t`-th.
pub fn step(rule: Rule, t: u64, adjust: Adjust, tensor: &Tensor) -> Stepped {
    let mut out = Stepped::default();
    let keeps = rule.keeps();
    for (i, (&g, &w)) in tensor.gradient.iter().zip(&tensor.weight).enumerate() {
        let at = |kept: bool, of: &[f32]| exactly(if kept { of[i] } else { 0.0 });
        let (mut g, mut w) = (exactly(g), exactly(w));
        if adjust.scale != 1.0 {
            g = exactly(adjust.scale) * g;
        }
        if adjust.l2 != 0.0 {
            g = g + exactly(adjust.l2) * w;
        }
        if adjust.decay != 0.0 {
            w = w - w * exactly(adjust.decay) * exactly(rule.rate());
        }
        let (mut v, mut m) = (at(keeps.velocity, &tensor.velocity), at(keeps.momentum, &tensor.momentum));
        let mut mean = at(keeps.mean, &tensor.mean);
        match rule {
            Rule::Rmsprop(rule) => {
                let (rho, epsilon) = (exactly(rule.rho), exactly(rule.epsilon));
                let rest = exactly(1.0) - rho;
                v = rho * v + rest * (g * g);
                let mut d = v;
                if rule.centered {
                    mean = rho * mean + rest * g;
                    d = v - mean * mean;
                    if d.x + d.off < 0.0 {
                        d = exactly(0.0);
                    }
                }
                let root = if rule.outside { d.sqrt() + epsilon } else { (d + epsilon).sqrt() };
                let mut way = exactly(rule.rate) * g / root;
                if rule.momentum > 0.0 {
                    m = exactly(rule.momentum) * m + way;
                    way = m;
                }
                w = w - way;
            }
            Rule::Sgd(rule) => {
                let (way, momentum) = (exactly(rule.rate) * g, exactly(rule.momentum));
                if rule.momentum > 0.0 {
                    m = momentum * m - way;
                    w = w + if rule.nesterov { momentum * m - way } else { m };
                } else {
                    w = w - way;
                }
            }
            Rule::Adamw(rule) => {
                let part = |beta: f64| 1.0 - beta.powi(t as i32);
                let root = part(rule.beta_2).sqrt();
                let alpha = f64::from(rule.rate) * root / part(rule.beta_1);
                let epsilon = f64::from(rule.epsilon) * if rule.corrected { root } else { 1.0 };
                m = m + (g - m) * rounded(1.0 - rule.beta_1);
                v = v + (g * g - v) * rounded(1.0 - rule.beta_2);
                w = w - m * rounded(alpha) / (v.sqrt() + rounded(epsilon));
            }
        }
        out.weight.push(w.near());
        out.velocity.push(v.near());
        out.momentum.push(m.near());
        out.mean.push(mean.near());
    }
    out
}

/// Buffers as a call takes them: of each tensor a gradient among the inputs; its states and its weight
/// among the outputs.
pub fn slots<'a>(keeps: Keeps, inputs: &'a [Buffer], outputs: &'a mut [Buffer]) -> Vec<ParameterUpdate<'a>> {
    let mut outputs = outputs.iter_mut();
    let mut slots = Vec::new();
    for gradient in inputs {
        let mut next = || outputs.next().unwrap_or_else(|| panic!("number of buffers"));
        slots.push(ParameterUpdate {
            gradient,
            velocity: keeps.velocity.then(&mut next),
            momentum: keeps.momentum.then(&mut next),
            mean: keeps.mean.then(&mut next),
            weight: next(),
            shadow: None,
        });
    }
    slots
}

/// The call of any rule.
pub fn call<'a>(rule: Rule, step: u64, adjust: Adjust, tensors: Vec<ParameterUpdate<'a>>) -> Call<'a> {
    scaled_call(rule, step, adjust, None, tensors)
}

/// The same of a scaled loss.
pub fn scaled_call<'a>(
    rule: Rule,
    step: u64,
    adjust: Adjust,
    scaling: Option<&'a Buffer>,
    tensors: Vec<ParameterUpdate<'a>>,
) -> Call<'a> {
    match rule {
        Rule::Rmsprop(rule) => Call::RmspropStep { rule, adjust, scaling, tensors },
        Rule::Sgd(rule) => Call::SgdStep { rule, adjust, scaling, tensors },
        Rule::Adamw(rule) => Call::AdamwStep { rule, step, adjust, scaling, tensors },
    }
}

/// Every rule in every variant.
pub fn rules() -> Vec<Rule> {
    let rmsprop = Rmsprop { rate: 2e-5, ..Rmsprop::default() };
    let loose = Rmsprop { rate: 1e-3, rho: 0.99, epsilon: 1e-3, ..rmsprop };
    let heavy = Sgd { momentum: 0.9, ..Sgd::default() };
    vec![
        rmsprop.into(),
        loose.into(),
        Rmsprop { momentum: 0.9, ..loose }.into(),
        Rmsprop { centered: true, ..loose }.into(),
        Rmsprop { outside: true, ..loose }.into(),
        Rmsprop { momentum: 0.5, centered: true, outside: true, ..loose }.into(),
        Sgd::default().into(),
        heavy.into(),
        Sgd { nesterov: true, ..heavy }.into(),
        Adamw::default().into(),
        Adamw { beta_1: 0.5, beta_2: 0.9, epsilon: 1e-3, corrected: true, ..Adamw::default() }.into(),
    ]
}

fn tensor(source: &mut Source, len: usize) -> Tensor {
    let mut gradient = source.f32(Reals, len);
    let mut velocity: Vec<f32> = source.f32(Reals, len).iter().map(|v| v * v).collect();
    // No gradient yet; one so small that epsilon decides the step; a huge one.
    for (at, g, v) in [(len / 4, 0.0, 0.0), (len / 2, 1e-8, 0.0), (len - 1, 1e3, 1e-3)] {
        (gradient[at], velocity[at]) = (g, v);
    }
    // The mean of numbers is not larger than the root of their mean square.
    let mut mean: Vec<f32> =
        source.f32(Reals, len).iter().zip(&velocity).map(|(m, v)| 0.9 * m * v.sqrt()).collect();
    // Of a gradient that stays as it is, it comes to be: by rounding, here by more.
    if len > 8 {
        let at = len / 3;
        (mean[at], velocity[at]) = (gradient[at], 0.5 * gradient[at] * gradient[at]);
    }
    Tensor { gradient, weight: source.f32(Reals, len), velocity, momentum: source.f32(Reals, len), mean }
}

/// One tensor of every length, and many: more than a launch takes, of lengths around a block's.
pub fn all(lengths: &[usize]) -> Vec<Case> {
    let mut cases = Vec::new();
    let many: Vec<usize> = (0..70).map(|k| [1, 5, 1023, 1024, 1025, 2, 4, 3][k % 8] + k / 8).collect();
    for rule in rules() {
        for &len in lengths {
            push(&mut cases, rule, Adjust::NONE, &[len]);
        }
        push(&mut cases, rule, Adjust::NONE, &many);
        push(&mut cases, rule, Adjust { scale: 0.25, l2: 0.01, decay: 0.1 }, &[1003, 6]);
    }
    cases
}

fn push(cases: &mut Vec<Case>, rule: Rule, adjust: Adjust, lens: &[usize]) {
    let mut source = Source::new(8);
    let t = 3;
    let (mut inputs, mut outputs) = (Vec::<Data>::new(), Vec::new());
    let keeps = rule.keeps();
    for &len in lens {
        let tensor = tensor(&mut source, len);
        let want = step(rule, t, adjust, &tensor);
        let states = [
            (keeps.velocity, tensor.velocity, want.velocity),
            (keeps.momentum, tensor.momentum, want.momentum),
            (keeps.mean, tensor.mean, want.mean),
            (true, tensor.weight, want.weight),
        ];
        inputs.push(tensor.gradient.into());
        outputs.extend(
            states.into_iter().filter(|kept| kept.0).map(|(_, before, want)| Output::in_place(before, want)),
        );
    }
    let title = (rule, adjust, lens.len(), lens[0]);
    let make: Make = Box::new(move |inputs, outputs| call(rule, t, adjust, slots(keeps, inputs, outputs)));
    cases.push(case(title, inputs, outputs, make));
}

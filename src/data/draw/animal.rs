//! Cartoon heads: what makes a cat a cat and a dog a dog.
//!
//! In: a frame whose unit is half the width of the head, and random numbers. Out: paint. Colours,
//! markings, collars and poses are drawn alike for both; only shapes tell them apart, and most of
//! them only often: some dogs prick their ears, some cats fold theirs.

use super::canvas::{Canvas, Colour, Frame, Point, bow, ellipse, hsv, melt, mix, shade, taper, triangle};
use crate::random::Draws;

/// What both animals have in common.
struct Coat {
    fur: Colour,
    /// Muzzle, chest, tail tip.
    pale: Colour,
    dark: Colour,
    skin: Colour,
    eye: Colour,
    /// Where the face looks, in units of the head: moves what stands out of it.
    look: Point,
    marking: u32,
    /// On which side a patch is: -1 or 1.
    side: f32,
    /// Size of the eyes.
    wide: f32,
}

const INK: Colour = [0.10, 0.08, 0.09];

impl Coat {
    fn draw(r: &mut Draws) -> Self {
        let fur = match r.below(5) {
            0 => hsv(r.range(0.04, 0.10), r.range(0.45, 0.75), r.range(0.6, 0.95)),
            1 => hsv(r.range(0.05, 0.09), r.range(0.3, 0.6), r.range(0.3, 0.5)),
            2 => hsv(r.unit(), r.range(0.0, 0.1), r.range(0.2, 0.6)),
            3 => hsv(r.range(0.08, 0.13), r.range(0.08, 0.25), r.range(0.85, 1.0)),
            _ => hsv(r.range(0.55, 0.7), r.range(0.05, 0.25), r.range(0.4, 0.75)),
        };
        let pale = mix(fur, [1.0, 0.98, 0.94], r.range(0.35, 0.9));
        Self {
            fur,
            pale,
            dark: shade(fur, r.range(0.45, 0.7)),
            skin: mix([0.93, 0.62, 0.62], fur, r.range(0.0, 0.4)),
            eye: hsv(r.range(0.06, 0.6), r.range(0.3, 0.8), r.range(0.5, 0.9)),
            look: [r.range(-0.22, 0.22), r.range(-0.1, 0.12)],
            marking: r.below(4),
            side: if r.unit() < 0.5 { -1.0 } else { 1.0 },
            wide: r.range(0.85, 1.2),
        }
    }

    /// Fur that darkens towards the edge of a head of radius 1.
    fn shaded(&self, colour: Colour) -> impl Fn(Point) -> Colour {
        move |[x, y]| shade(colour, 1.05 - 0.22 * (x * x * 0.6 + (y + 0.3) * (y + 0.3)).min(1.2))
    }

    /// Stripes, a patch or a blaze inside `head`.
    fn markings(&self, c: &mut Canvas, f: &Frame, head: impl Fn(Point) -> f32) {
        let [lx, ly] = self.look;
        match self.marking {
            0 => {
                let stripe = |p: Point| {
                    [-0.28f32, 0.0, 0.28].into_iter().fold(f32::MAX, |d, x| {
                        let to = [x * 0.7 + lx, -0.42 + ly + x.abs() * 0.3];
                        d.min(taper(p, [x * 1.2 + lx * 0.5, -1.0], to, 0.09, 0.02))
                    })
                };
                c.paint(f, 1.4, 0.85, |_| self.dark, |p| head(p).max(stripe(p)));
                let cheek = |p: Point| {
                    [0.05f32, 0.3].into_iter().fold(f32::MAX, |d, y| {
                        d.min(taper([p[0].abs(), p[1]], [1.1, y], [0.72, y + 0.06], 0.06, 0.015))
                    })
                };
                c.paint(f, 1.4, 0.85, |_| self.dark, |p| head(p).max(cheek(p)));
            }
            1 => {
                let patch = |p: Point| ellipse(p, [self.side * 0.45 + lx, -0.18 + ly], [0.42, 0.5]);
                let colour = if self.side > 0.0 { self.dark } else { self.pale };
                c.paint(f, 1.4, 1.0, |_| colour, |p| head(p).max(patch(p)));
            }
            2 => {
                let blaze = |p: Point| {
                    melt(
                        taper(p, [lx * 0.6, -1.0], [lx, 0.0], 0.1, 0.2),
                        ellipse(p, [lx, 0.5], [0.55, 0.5]),
                        0.3,
                    )
                };
                c.paint(f, 1.4, 1.0, |_| self.pale, |p| head(p).max(blaze(p)));
            }
            _ => {}
        }
    }

    /// Shoulders below the head, and sometimes a collar.
    fn body(&self, c: &mut Canvas, f: &Frame, r: &mut Draws) {
        let (lean, width) = (r.range(-0.35, 0.35), r.range(0.75, 1.05));
        let trunk = |p: Point| {
            melt(
                ellipse(p, [lean, 2.0], [width, 1.25]),
                taper(p, [0.0, 0.4], [lean * 0.6, 1.3], 0.5, 0.6),
                0.3,
            )
        };
        c.paint(f, 3.4, 1.0, |[x, _]| shade(self.fur, 0.9 - 0.12 * x * x), trunk);
        if r.unit() < 0.6 {
            let chest = |p: Point| trunk(p).max(ellipse(p, [lean * 0.6, 1.6], [0.42, 0.7]));
            c.fill(f, 3.4, shade(self.pale, 0.95), chest);
        }
        if r.unit() < 0.4 {
            let colour = hsv(r.unit(), 0.8, r.range(0.5, 0.95));
            let band = |p: Point| trunk(p).max(bow(p, [[-0.9, 0.75], [0.0, 1.25], [0.9, 0.75]], 0.09));
            c.fill(f, 3.4, colour, band);
            c.fill(f, 3.4, [0.95, 0.8, 0.25], |p| ellipse(p, [lean * 0.2, 1.12], [0.1, 0.1]));
        }
    }

    fn eyes(&self, c: &mut Canvas, f: &Frame, r: &mut Draws, [dx, y]: Point, round: f32, pupil: Point) {
        let [lx, ly] = self.look;
        let glance = r.range(-0.05, 0.05);
        let sleepy = r.unit() < 0.1;
        for side in [-1.0f32, 1.0] {
            let at = [side * dx + lx, y + ly];
            if sleepy {
                let lid = [[at[0] - 0.17, at[1]], [at[0], at[1] + 0.14], [at[0] + 0.17, at[1]]];
                c.fill(f, 1.5, INK, |p| bow(p, lid, 0.03));
                continue;
            }
            let (w, h) = (0.2 * self.wide, 0.2 * self.wide * round);
            let e = f.within(at, 1.0, side * 0.25 * (1.0 - round));
            c.fill(&e, 0.5, INK, |p| ellipse(p, [0.0, 0.0], [w + 0.03, h + 0.03]));
            c.fill(&e, 0.5, self.eye, |p| ellipse(p, [0.0, 0.0], [w, h]));
            let hole = [pupil[0] * self.wide, (pupil[1] * self.wide).min(h)];
            c.fill(&e, 0.5, INK, |p| ellipse(p, [glance, 0.0], hole));
            c.fill(&e, 0.5, [1.0; 3], |p| ellipse(p, [glance + 0.06, -0.07], [0.045, 0.045]));
        }
    }
}

/// A cat, its head around the frame's origin.
pub fn cat(c: &mut Canvas, f: &Frame, r: &mut Draws) {
    let coat = Coat::draw(r);
    coat.body(c, f, r);
    let [lx, ly] = coat.look;
    let tall = r.range(0.75, 1.0);
    let folded = r.unit() < 0.15;
    for side in [-1.0f32, 1.0] {
        let twist = r.range(-0.12, 0.12);
        let tip = if folded { [side * 1.0, -0.62] } else { [side * (0.72 + twist), -0.72 - 0.62 * tall] };
        let ear = [[side * 0.95, -0.3], tip, [side * 0.22, -0.72]];
        c.fill(f, 2.2, shade(coat.fur, 0.92), |p| triangle(p, ear, 0.07));
        if !folded {
            let middle = [0, 1].map(|i| (ear[0][i] + ear[1][i] + ear[2][i]) / 3.0);
            let inner = ear.map(|q| [0, 1].map(|i| middle[i] + 0.62 * (q[i] - middle[i])));
            c.fill(f, 2.2, coat.skin, |p| triangle(p, inner, 0.03));
        }
    }
    let cheeks = r.range(0.0, 0.14);
    let head = |p: Point| {
        melt(ellipse(p, [0.0, -0.05], [0.98, 0.82]), ellipse(p, [0.0, 0.25], [0.95 + cheeks, 0.55]), 0.2)
    };
    c.paint(f, 1.6, 1.0, coat.shaded(coat.fur), head);
    coat.markings(c, f, head);

    let slit = r.range(0.04, 0.15);
    let round = r.range(0.7, 0.95);
    coat.eyes(c, f, r, [0.42, -0.08], round, [slit, 0.18]);
    let (mx, my) = (lx * 1.4, ly * 1.4);
    for side in [-1.0f32, 1.0] {
        c.fill(f, 1.5, coat.pale, |p| ellipse(p, [mx + side * 0.17, my + 0.43], [0.23, 0.18]));
    }
    let nose = [[mx - 0.1, my + 0.24], [mx + 0.1, my + 0.24], [mx, my + 0.33]];
    let nose_colour = if r.unit() < 0.3 { INK } else { shade(coat.skin, 0.9) };
    c.fill(f, 1.5, nose_colour, |p| triangle(p, nose, 0.04));
    mouth(c, f, [mx, my + 0.36], 0.22);
    if r.unit() < 0.85 {
        let ink = if r.unit() < 0.5 { [0.97; 3] } else { shade(INK, 1.5) };
        let droop = r.range(-0.15, 0.2);
        for side in [-1.0f32, 1.0] {
            for (i, fan) in [-0.16f32, 0.0, 0.16].into_iter().enumerate() {
                let from = [mx + side * 0.25, my + 0.4 + fan * 0.4];
                let over = [mx + side * 0.8, my + 0.34 + fan];
                let to = [mx + side * (1.25 - 0.08 * i as f32), my + 0.42 + fan * 1.6 + droop];
                c.paint(f, 2.2, 0.85, |_| ink, |p| bow(p, [from, over, to], 0.012));
            }
        }
    }
}

/// A dog, its head around the frame's origin.
pub fn dog(c: &mut Canvas, f: &Frame, r: &mut Draws) {
    let coat = Coat::draw(r);
    coat.body(c, f, r);
    let [lx, ly] = coat.look;
    let (width, jaw) = (r.range(0.78, 0.98), r.range(0.5, 0.7));
    let style = r.unit();
    let ear_colour = if r.unit() < 0.6 { coat.dark } else { shade(coat.fur, 0.9) };
    if style < 0.25 {
        // Pricked, as a husky's: the cat's silhouette.
        for side in [-1.0f32, 1.0] {
            let tip = [side * (0.75 + r.range(-0.1, 0.1)), -1.3];
            let ear = [[side * 0.92, -0.35], tip, [side * 0.3, -0.72]];
            c.fill(f, 2.2, ear_colour, |p| triangle(p, ear, 0.1));
        }
    }
    let head = |p: Point| {
        melt(ellipse(p, [0.0, -0.15], [width, 0.8]), ellipse(p, [lx * 0.5, 0.45], [jaw, 0.55]), 0.35)
    };
    c.paint(f, 1.6, 1.0, coat.shaded(coat.fur), head);
    coat.markings(c, f, head);
    if style >= 0.25 {
        let (length, spread) = (r.range(0.5, 1.15), r.range(0.0, 0.3));
        for side in [-1.0f32, 1.0] {
            let root = [side * width * 0.75, -0.68];
            let knee = [side * (width + 0.12 + spread * 0.5), -0.5];
            let end = [side * (width + 0.1 + spread), -0.5 + length + r.range(-0.1, 0.1)];
            let ear = |p: Point| melt(taper(p, root, knee, 0.12, 0.2), taper(p, knee, end, 0.18, 0.26), 0.15);
            c.paint(f, 2.4, 1.0, |p| shade(ear_colour, 1.0 - 0.1 * p[1]), ear);
        }
    }

    let pupil = r.range(0.1, 0.15);
    coat.eyes(c, f, r, [0.36, -0.2], 1.0, [pupil, 0.14]);
    let (mx, my) = (lx * 1.6, ly * 1.5);
    let snout = r.range(0.36, 0.5);
    let muzzle = |p: Point| {
        melt(
            taper(p, [lx * 0.8, -0.05], [mx, my + 0.35], 0.14, 0.2),
            ellipse(p, [mx, my + 0.46], [snout, 0.34]),
            0.25,
        )
    };
    c.paint(f, 1.6, 1.0, |[_, y]| shade(coat.pale, 1.02 - 0.12 * y), muzzle);
    if r.unit() < 0.45 {
        let tongue = [[mx + 0.04, my + 0.6], [mx + 0.06, my + 0.75 + r.range(0.05, 0.25)]];
        c.fill(f, 2.0, [0.9, 0.42, 0.48], |p| taper(p, tongue[0], tongue[1], 0.12, 0.14));
        c.fill(f, 2.0, [0.72, 0.28, 0.35], |p| taper(p, tongue[0], tongue[1], 0.015, 0.01));
    }
    mouth(c, f, [mx, my + 0.4], snout * 0.75);
    let size = r.range(0.15, 0.22);
    let nose_colour = if r.unit() < 0.2 { shade(coat.skin, 0.75) } else { INK };
    c.fill(f, 1.6, nose_colour, |p| ellipse(p, [mx, my + 0.24], [size, size * 0.72]));
    c.fill(f, 1.6, shade(INK, 5.0), |p| ellipse(p, [mx - 0.05, my + 0.19], [0.05, 0.03]));
    if r.unit() < 0.3 {
        for side in [-1.0f32, 1.0] {
            for dot in [[0.2, 0.45], [0.28, 0.52], [0.18, 0.56]] {
                let at = [mx + side * dot[0], my + dot[1]];
                c.paint(f, 1.6, 0.7, |_| INK, |p| ellipse(p, at, [0.02, 0.02]));
            }
        }
    }
}

/// A line down from the nose and two bows: the same for both.
fn mouth(c: &mut Canvas, f: &Frame, [x, y]: Point, width: f32) {
    c.fill(f, 1.6, INK, |p| taper(p, [x, y - 0.06], [x, y + 0.14], 0.02, 0.02));
    for side in [-1.0f32, 1.0] {
        let bend = [[x, y + 0.14], [x + side * width * 0.5, y + 0.3], [x + side * width, y + 0.13]];
        c.fill(f, 1.6, INK, |p| bow(p, bend, 0.022));
    }
}

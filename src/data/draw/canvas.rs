//! A small anti-aliased rasteriser: shapes are signed distances, painted one over the other.
//!
//! In: distance functions in the coordinates of a [`Frame`], and colours. Out: RGB bytes.
//! Distances of the primitives follow I. Quilez, "2D distance functions".

/// A place in a frame: x to the right, y down.
pub type Point = [f32; 2];

/// Red, green, blue; 0 to 1, as stored in a file (not linear light).
pub type Colour = [f32; 3];

/// Coordinates that are moved, turned and scaled: `scale` pixels per unit.
#[derive(Clone, Copy)]
pub struct Frame {
    centre: Point,
    scale: f32,
    cos: f32,
    sin: f32,
}

impl Frame {
    /// `angle` in radians, clockwise on the page.
    pub fn new(centre: Point, scale: f32, angle: f32) -> Self {
        Self { centre, scale, cos: angle.cos(), sin: angle.sin() }
    }

    /// A frame inside this one, turned around `centre`.
    pub fn within(&self, centre: Point, scale: f32, angle: f32) -> Self {
        let (sin, cos) = angle.sin_cos();
        Self {
            centre: self.page_place(centre),
            scale: self.scale * scale,
            cos: self.cos * cos - self.sin * sin,
            sin: self.sin * cos + self.cos * sin,
        }
    }

    fn page_place(self, [x, y]: Point) -> Point {
        [
            self.centre[0] + self.scale * (self.cos * x - self.sin * y),
            self.centre[1] + self.scale * (self.sin * x + self.cos * y),
        ]
    }

    fn local_place(self, [x, y]: Point) -> Point {
        let (dx, dy) = ((x - self.centre[0]) / self.scale, (y - self.centre[1]) / self.scale);
        [self.cos * dx + self.sin * dy, self.cos * dy - self.sin * dx]
    }
}

/// An image.
pub struct Canvas {
    /// Rows and columns.
    size: [usize; 2],
    pixels: Vec<Colour>,
}

impl Canvas {
    /// `paint` gives the ground, in pixels.
    pub fn new(size: [usize; 2], paint: impl Fn(Point) -> Colour) -> Self {
        let [h, w] = size;
        let at = |i: usize| paint([(i % w) as f32 + 0.5, (i / w) as f32 + 0.5]);
        Self { size, pixels: (0..h * w).map(at).collect() }
    }

    /// Paints where `distance` is negative; the edge is one pixel wide. Nothing is painted farther
    /// than `reach` from the frame's origin, in its units.
    pub fn paint(
        &mut self,
        frame: &Frame,
        reach: f32,
        opacity: f32,
        colour: impl Fn(Point) -> Colour,
        distance: impl Fn(Point) -> f32,
    ) {
        let [h, w] = self.size;
        let span = |middle: f32, end: usize| {
            let reach = reach * frame.scale + 1.0;
            // The casts stop at 0 and at the largest number; both ends are inside the image.
            (middle - reach) as usize..((middle + reach).ceil() as usize).min(end)
        };
        for y in span(frame.centre[1], h) {
            for x in span(frame.centre[0], w) {
                let p = frame.local_place([x as f32 + 0.5, y as f32 + 0.5]);
                let cover = (0.5 - distance(p) * frame.scale).clamp(0.0, 1.0) * opacity;
                if cover > 0.0 {
                    let pixel = &mut self.pixels[y * w + x];
                    *pixel = mix(*pixel, colour(p), cover);
                }
            }
        }
    }

    /// [`Canvas::paint`] in one opaque colour.
    pub fn fill(&mut self, frame: &Frame, reach: f32, colour: Colour, distance: impl Fn(Point) -> f32) {
        self.paint(frame, reach, 1.0, |_| colour, distance);
    }

    /// Changes every pixel, row by row; `change` gets its column and row.
    pub fn map(&mut self, mut change: impl FnMut(f32, f32, Colour) -> Colour) {
        let w = self.size[1];
        for (i, pixel) in self.pixels.iter_mut().enumerate() {
            *pixel = change((i % w) as f32, (i / w) as f32, *pixel);
        }
    }

    /// Three bytes per pixel, row by row.
    pub fn bytes(&self) -> Vec<u8> {
        self.pixels.iter().flatten().map(|v| (v.clamp(0.0, 1.0) * 255.0 + 0.5) as u8).collect()
    }
}

/// `a`, or `b` where `share` is 1.
pub fn mix(a: Colour, b: Colour, share: f32) -> Colour {
    [0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * share)
}

/// `colour`, darker below 1 and lighter above.
pub fn shade(colour: Colour, factor: f32) -> Colour {
    colour.map(|v| (v * factor).min(1.0))
}

/// Hue in turns, saturation and value 0 to 1.
pub fn hsv(hue: f32, saturation: f32, value: f32) -> Colour {
    [0.0, 2.0 / 3.0, 1.0 / 3.0].map(|offset| {
        let k = ((hue + offset).fract() * 6.0 - 3.0).abs() - 1.0;
        value * (1.0 - saturation + saturation * k.clamp(0.0, 1.0))
    })
}

/// An ellipse around `c`; the distance is exact at the edge and of first order near it.
pub fn ellipse([x, y]: Point, c: Point, [rx, ry]: Point) -> f32 {
    let (u, v) = ((x - c[0]) / rx, (y - c[1]) / ry);
    let length = (u * u + v * v).sqrt();
    let slope = ((u / rx).powi(2) + (v / ry).powi(2)).sqrt();
    if slope < 1e-6 { -rx.min(ry) } else { length * (length - 1.0) / slope }
}

/// A line from `a` to `b` with round ends, `ra` and `rb` thick (as radii).
pub fn taper(p: Point, a: Point, b: Point, ra: f32, rb: f32) -> f32 {
    let (dx, dy) = (b[0] - a[0], b[1] - a[1]);
    let (px, py) = (p[0] - a[0], p[1] - a[1]);
    let along = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0.0, 1.0);
    let (ex, ey) = (px - along * dx, py - along * dy);
    (ex * ex + ey * ey).sqrt() - (ra + (rb - ra) * along)
}

/// A curved line from `a` over the control point `b` to `c`, `radius` thick, as eight tapers.
pub fn bow(p: Point, [a, b, c]: [Point; 3], radius: f32) -> f32 {
    let gap = |q: Point, r: Point| ((q[0] - r[0]).powi(2) + (q[1] - r[1]).powi(2)).sqrt();
    // The curve lies within its three points: most pixels are clearly outside of their circle.
    let middle = [0, 1].map(|i| (a[i] + c[i]) / 2.0);
    let outside = gap(p, middle) - gap(a, middle).max(gap(b, middle)) - radius;
    if outside > 0.1 {
        return outside;
    }
    let at = |t: f32| [0, 1].map(|i| (1.0 - t).powi(2) * a[i] + 2.0 * t * (1.0 - t) * b[i] + t * t * c[i]);
    (0..8)
        .fold(f32::MAX, |d, i| d.min(taper(p, at(i as f32 / 8.0), at((i + 1) as f32 / 8.0), radius, radius)))
}

/// A triangle whose corners are rounded by `round`, which also lets it grow by as much.
pub fn triangle(p: Point, corners: [Point; 3], round: f32) -> f32 {
    let mut nearest = f32::MAX;
    let mut sides = [false; 3];
    for i in 0..3 {
        let (a, b) = (corners[i], corners[(i + 1) % 3]);
        nearest = nearest.min(taper(p, a, b, 0.0, 0.0));
        sides[i] = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) > 0.0;
    }
    let inside = sides == [true; 3] || sides == [false; 3];
    (if inside { -nearest } else { nearest }) - round
}

/// A rectangle around the origin with rounded corners.
pub fn slab([x, y]: Point, [w, h]: Point, round: f32) -> f32 {
    let (qx, qy) = (x.abs() - w + round, y.abs() - h + round);
    let outside = (qx.max(0.0).powi(2) + qy.max(0.0).powi(2)).sqrt();
    outside + qx.max(qy).min(0.0) - round
}

/// Both shapes, melted together over `k`.
pub fn melt(a: f32, b: f32, k: f32) -> f32 {
    let h = (k - (a - b).abs()).max(0.0) / k;
    a.min(b) - h * h * k * 0.25
}

#![allow(clippy::unwrap_used)]
use vgg_ft::ptx::{parse, Program};
#[test]
fn decode() {
    let dir = std::env::var("PTX_DIR").unwrap();
    for f in std::fs::read_dir(dir).unwrap() {
        let p = f.unwrap().path();
        if p.extension().is_none_or(|e| e != "ptx") { continue }
        let text = std::fs::read_to_string(&p).unwrap();
        let m = match parse(&p.display().to_string(), &text) { Ok(m) => m, Err(e) => { println!("{e}"); continue } };
        for e in &m.entries {
            match Program::new(&m, e, &Default::default(), true) {
                Ok(p) => println!("{}: {} blocks {} ops, {} virtual -> {:?} slots, tracked {:?}, identity {}", p.name, p.blocks.len(), p.ops.len(), p.virtual_registers, p.slots, p.tracked_names, p.priority.windows(2).all(|w| w[0] < w[1])),
                Err(e) => println!("{e}"),
            }
        }
    }
}

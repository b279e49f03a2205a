//! Writes the seeds of every target to `corpus/TARGET`, where `cargo fuzz run` looks for them.

use std::path::Path;

use outrigger_fuzz::{TARGETS, seeds};

fn main() -> std::io::Result<()> {
    for (target, _) in TARGETS {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        std::fs::create_dir_all(&directory)?;
        for (number, seed) in seeds::of(target).iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{number:04}")), seed)?;
        }
    }
    Ok(())
}

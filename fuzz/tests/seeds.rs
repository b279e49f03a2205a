//! Runs every target on its seeds and on variants of them, with any compiler.

use outrigger_fuzz::{TARGETS, run, seeds};

/// Numbers that look random and are the same each time.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % limit.max(1)
    }
}

#[test]
fn every_target_holds_on_its_seeds() {
    for (target, _) in TARGETS {
        let seeds = seeds::of(target);
        assert!(!seeds.is_empty(), "{target} has no seeds");
        seeds.iter().for_each(|seed| run(target, seed));
    }
}

#[test]
fn every_target_holds_on_damaged_seeds() {
    let mut random = Sequence(1);
    for (target, _) in TARGETS {
        let seeds = seeds::of(target);
        for _ in 0..400 {
            let mut input = seeds[random.below(seeds.len())].clone();
            for _ in 0..=random.below(4) {
                damage(&mut input, &mut random);
            }
            run(target, &input);
        }
    }
}

fn damage(input: &mut Vec<u8>, random: &mut Sequence) {
    let at = random.below(input.len());
    match random.below(4) {
        0 => input.truncate(at),
        1 => input.insert(at, random.below(256) as u8),
        2 if at < input.len() => drop(input.remove(at)),
        _ => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

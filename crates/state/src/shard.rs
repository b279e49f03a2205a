//! Which objects belong to a shard, as kube-state-metrics decides it.

/// One of `total` shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    /// Its number, from 0.
    pub index: u32,
    /// How many there are.
    pub total: u32,
}

impl Shard {
    /// Whether an object whose UID has this hash belongs to it. A shard whose number is not among them holds nothing, as
    /// one of a StatefulSet that was scaled down.
    pub fn holds(self, uid_hash: u64) -> bool {
        jump_hash(uid_hash, self.total.max(1)) == self.index
    }
}

/// FNV-1a of 64 bits.
pub fn uid_hash(uid: &str) -> u64 {
    uid.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Jump consistent hash (Lamping and Veach, 2014).
fn jump_hash(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0_i64, 0_i64);
    while next < i64::from(buckets) {
        bucket = next;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        let divisor = ((key >> 33) + 1) as f64;
        next = ((bucket + 1) as f64 * ((1_i64 << 31) as f64 / divisor)) as i64;
    }
    bucket as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_fnv_and_of_the_jump_paper() {
        // Vectors of the FNV reference, and of Go's github.com/dgryski/go-jump.
        assert_eq!(uid_hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(uid_hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(uid_hash("foobar"), 0x8594_4171_f739_67e8);
        let cases = [(1, 1, 0), (42, 57, 43), (0xDEAD10CC, 1, 0), (0xDEAD10CC, 666, 361), (256, 1024, 520)];
        for (key, buckets, bucket) in cases {
            assert_eq!(jump_hash(key, buckets), bucket, "{key} of {buckets}");
        }
    }

    #[test]
    fn each_object_belongs_to_exactly_one_shard() {
        for object in 0..1_000 {
            let hash = uid_hash(&format!("uid-{object}"));
            let holders = (0..7).filter(|index| Shard { index: *index, total: 7 }.holds(hash)).count();
            assert_eq!(holders, 1);
            assert!(!Shard { index: 1, total: 1 }.holds(hash));
        }
    }
}

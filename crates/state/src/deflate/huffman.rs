//! Codes from counts.

/// A canonical Huffman code (RFC 1951, 3.2.2).
#[derive(Debug)]
pub(super) struct Code<const N: usize> {
    /// The code of each symbol, the first bit lowest, above its length in eight bits. Zero for one that does not occur.
    pub(super) codes: [u32; N],
}

impl<const N: usize> Code<N> {
    /// A code for symbols that occur so often, with at most `limit` bits. Always a complete one: with fewer than two
    /// symbols, others get a code that nobody uses.
    pub(super) fn of(counts: &[u32; N], limit: u8) -> Self {
        let mut symbols: Vec<(u32, usize)> = counts
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
            .map(|(at, count)| (*count, at))
            .collect();
        let unused = counts.iter().enumerate().filter(|(_, count)| **count == 0).map(|(at, _)| (0, at));
        let missing = 2_usize.saturating_sub(symbols.len());
        symbols.extend(unused.take(missing));
        symbols.sort_unstable();
        let mut lengths = [0; N];
        for ((_, symbol), length) in symbols.iter().zip(limited(&depths(&symbols), limit)) {
            lengths[*symbol] = length;
        }
        Self { codes: canonical(&lengths) }
    }
}

/// Depth of each leaf in a Huffman tree over leaves sorted by weight (two queues: leaves and inner nodes).
fn depths(leaves: &[(u32, usize)]) -> Vec<u8> {
    let count = leaves.len();
    let mut weights: Vec<u64> = leaves.iter().map(|(weight, _)| u64::from(*weight)).collect();
    let mut parents = vec![0; 2 * count - 1];
    let (mut leaf, mut inner) = (0, count);
    for node in count..2 * count - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let lightest = if leaf < count && (inner >= node || weights[leaf] <= weights[inner]) {
                &mut leaf
            } else {
                &mut inner
            };
            weight += weights[*lightest];
            parents[*lightest] = node;
            *lightest += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0u8; 2 * count - 1];
    for node in (0..2 * count - 2).rev() {
        depths[node] = depths[parents[node]] + 1;
    }
    depths.truncate(count);
    depths
}

/// Lengths of at most `limit` for leaves sorted by weight, still a complete code.
fn limited(depths: &[u8], limit: u8) -> Vec<u8> {
    let mut by_length = vec![0u32; usize::from(limit) + 1];
    for depth in depths {
        by_length[usize::from(*depth.min(&limit))] += 1;
    }
    // What was cut off takes too much of the code: lengthen the longest ones that can be.
    let whole = 1u32 << limit;
    let mut used: u32 = by_length
        .iter()
        .enumerate()
        .skip(1)
        .map(|(length, count)| count << (usize::from(limit) - length))
        .sum();
    while used > whole {
        let longest = (1..usize::from(limit)).rev().find(|length| by_length[*length] > 0);
        let Some(length) = longest else { break };
        by_length[length] -= 1;
        by_length[length + 1] += 2;
        by_length[usize::from(limit)] -= 1;
        used -= 1;
    }
    // The lightest leaves are first and get the longest codes.
    let lengths = (1..=limit).rev();
    lengths.flat_map(|length| std::iter::repeat_n(length, by_length[usize::from(length)] as usize)).collect()
}

fn canonical<const N: usize>(lengths: &[u8; N]) -> [u32; N] {
    let mut counts = [0u16; 16];
    for length in lengths.iter().filter(|length| **length > 0) {
        counts[usize::from(*length)] += 1;
    }
    let mut next = [0u16; 16];
    for length in 1..16 {
        next[length] = (next[length - 1] + counts[length - 1]) << 1;
    }
    let mut codes = [0; N];
    for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
        let next = &mut next[usize::from(*length)];
        codes[symbol] = u32::from(next.reverse_bits() >> (16 - length)) << 8 | u32::from(*length);
        *next += 1;
    }
    codes
}

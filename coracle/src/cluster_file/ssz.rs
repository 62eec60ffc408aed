//! Hash tree roots as cluster files use them: SSZ merkleization over SHA-256 (consensus-specs,
//! `ssz/simple-serialize.md`, "Merkleization"), with the encoder habits that the files were first hashed with.

use sha2::{Digest, Sha256};

/// A node of the tree.
pub(super) type Root = [u8; 32];

/// The leaves of one container or list, in order.
#[derive(Default)]
pub(super) struct Leaves(Vec<Root>);

impl Leaves {
    pub(super) fn push(&mut self, root: Root) {
        self.0.push(root);
    }

    pub(super) fn push_u64(&mut self, value: u64) {
        self.0.push(u64_leaf(value));
    }

    /// Bytes as they are: no leaf at all when empty, one up to 32 bytes, and the root of their chunks beyond.
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        let mut leaves = chunks(bytes);
        if bytes.len() <= 32 { self.0.append(&mut leaves) } else { self.0.push(merkleize(leaves, None)) }
    }

    /// A fixed-size value: shorter ones are padded with zeros on the left.
    pub(super) fn push_fixed(&mut self, bytes: &[u8], size: usize) {
        let mut padded = vec![0; size.saturating_sub(bytes.len())];
        padded.extend_from_slice(bytes);
        self.push_bytes(&padded);
    }

    /// A byte list of at most `limit` bytes, with its length mixed in.
    pub(super) fn push_byte_list(&mut self, bytes: &[u8], limit: usize) {
        self.0.push(mix_length(merkleize(chunks(bytes), Some(limit.div_ceil(32))), bytes.len()));
    }

    /// A list of 64-bit numbers, four a leaf, at most `limit` of them.
    pub(super) fn push_u64_list(&mut self, values: &[u64], limit: usize) {
        let packed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.0.push(mix_length(merkleize(chunks(&packed), Some(limit.div_ceil(4))), values.len()));
    }

    /// The root of a container.
    pub(super) fn root(self) -> Root {
        merkleize(self.0, None)
    }

    /// The root of a list with `length` entries of at most `limit`.
    pub(super) fn list_root(self, length: usize, limit: usize) -> Root {
        mix_length(merkleize(self.0, Some(limit)), length)
    }
}

fn merkleize(mut level: Vec<Root>, limit: Option<usize>) -> Root {
    let width = limit.unwrap_or(level.len()).max(1);
    // The subtree of zeros at the height reached so far.
    let mut zeros = [0; 32];
    for _ in 0..width.next_power_of_two().trailing_zeros() {
        if level.len() % 2 == 1 {
            level.push(zeros);
        }
        level = level.chunks_exact(2).map(pair_of).collect();
        zeros = pair(&zeros, &zeros);
    }
    level.first().copied().unwrap_or(zeros)
}

fn pair_of(both: &[Root]) -> Root {
    match both {
        [left, right] => pair(left, right),
        _ => [0; 32],
    }
}

fn pair(left: &Root, right: &Root) -> Root {
    Sha256::new().chain_update(left).chain_update(right).finalize().into()
}

fn mix_length(root: Root, length: usize) -> Root {
    pair(&root, &u64_leaf(length as u64))
}

fn u64_leaf(value: u64) -> Root {
    let mut leaf = [0; 32];
    for (to, from) in leaf.iter_mut().zip(value.to_le_bytes()) {
        *to = from;
    }
    leaf
}

fn chunks(bytes: &[u8]) -> Vec<Root> {
    let leaf = |chunk: &[u8]| {
        let mut leaf = [0; 32];
        for (to, from) in leaf.iter_mut().zip(chunk) {
            *to = *from;
        }
        leaf
    };
    bytes.chunks(32).map(leaf).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The zero subtrees of heights 1 and 2, as published with the deposit contract.
    #[test]
    fn zero_subtrees() {
        let height = |limit| hex::encode(merkleize(Vec::new(), Some(limit)));
        assert_eq!(height(1), "00".repeat(32));
        assert_eq!(height(2), "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
        assert_eq!(height(4), "db56114e00fdd4c1f85c892bf35ac9a89289aaecb1ebd0a96cde606a748b5d71");
    }

    #[test]
    fn empty_bytes_are_no_leaf_and_one_leaf_is_its_own_root() {
        let mut leaves = Leaves::default();
        leaves.push_bytes(b"");
        assert!(leaves.0.is_empty());
        leaves.push_bytes(&[7]);
        let mut expected = [0; 32];
        expected[0] = 7;
        assert_eq!(leaves.root(), expected);
    }

    #[test]
    fn three_leaves_are_padded_to_four() {
        let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
        assert_eq!(merkleize(vec![a, b, c], None), pair(&pair(&a, &b), &pair(&c, &[0; 32])));
        assert_eq!(merkleize(vec![a], Some(4)), pair(&pair(&a, &[0; 32]), &pair(&[0; 32], &[0; 32])));
    }
}

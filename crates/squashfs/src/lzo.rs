//! LZO1X, decompression only.
//!
//! The stream is instructions: copy literals, or copy bytes made before. Format: the kernel's
//! `Documentation/staging/lzo.rst`, without its run-length extension, which squashfs never uses.
//! Every read and every distance is checked; the output never grows.

/// Why a block does not decompress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("the lzo block ends too early")]
    Input,
    #[error("the lzo block is larger than allowed")]
    Output,
    #[error("the lzo block copies from before its start")]
    Distance,
    #[error("the lzo block has bytes behind its end")]
    Trailing,
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Result<usize, Fault> {
        let (&first, rest) = self.0.split_first().ok_or(Fault::Input)?;
        self.0 = rest;
        Ok(first.into())
    }

    /// A length: the low bits of an instruction, or, when those are 0, of the bytes behind.
    fn length(&mut self, low: usize, mask: usize) -> Result<usize, Fault> {
        if low != 0 {
            return Ok(low);
        }
        let mut length = mask;
        loop {
            match self.byte()? {
                0 => length = length.saturating_add(255),
                last => return Ok(length.saturating_add(last)),
            }
        }
    }
}

struct Output<'a> {
    bytes: &'a mut [u8],
    made: usize,
}

impl Output<'_> {
    fn literals(&mut self, input: &mut Input<'_>, length: usize) -> Result<(), Fault> {
        let (literals, rest) = input.0.split_at_checked(length).ok_or(Fault::Input)?;
        let end = self.made.saturating_add(length);
        self.bytes.get_mut(self.made..end).ok_or(Fault::Output)?.copy_from_slice(literals);
        self.made = end;
        input.0 = rest;
        Ok(())
    }

    fn copy(&mut self, distance: usize, length: usize) -> Result<(), Fault> {
        let from = self.made.checked_sub(distance).ok_or(Fault::Distance)?;
        let end = self.made.saturating_add(length);
        if end > self.bytes.len() {
            return Err(Fault::Output);
        }
        if distance >= length {
            self.bytes.copy_within(from..from.saturating_add(length), self.made);
        } else {
            // The copy reads what it writes: byte by byte, a pattern of `distance` bytes repeats.
            let (before, after) = self.bytes.split_at_mut(self.made);
            let pattern = before.get(from..).unwrap_or_default();
            let target = after.get_mut(..length).unwrap_or_default();
            for (byte, value) in target.iter_mut().zip(pattern.iter().cycle()) {
                *byte = *value;
            }
        }
        self.made = end;
        Ok(())
    }
}

/// Decompresses `input` into the start of `output`; returns the number of bytes made.
pub(crate) fn decompress(input: &[u8], output: &mut [u8]) -> Result<usize, Fault> {
    let mut input = Input(input);
    let mut output = Output { bytes: output, made: 0 };
    // Literals copied by the instruction before: 0 to 3, 4 for a long run.
    let mut state = 0;
    if let Some(&first @ 18..) = input.0.first() {
        input.byte()?;
        let length = usize::from(first).saturating_sub(17);
        output.literals(&mut input, length)?;
        state = length.min(4);
    }
    loop {
        let instruction = input.byte()?;
        let (distance, length, literals) = match instruction {
            0..16 if state == 0 => {
                let length = input.length(instruction, 15)?.saturating_add(3);
                output.literals(&mut input, length)?;
                state = 4;
                continue;
            }
            0..16 => {
                let (base, length) = if state == 4 { (2049, 3) } else { (1, 2) };
                let high = input.byte()?.saturating_mul(4);
                (high.saturating_add(instruction >> 2).saturating_add(base), length, instruction)
            }
            16..32 => {
                let length = input.length(instruction & 7, 7)?.saturating_add(2);
                let low = input.byte()?;
                let word = low | (input.byte()? << 8);
                let distance = ((instruction & 8) << 11) | (word >> 2);
                if distance == 0 {
                    // The end marker is 17 0 0.
                    return if input.0.is_empty() { Ok(output.made) } else { Err(Fault::Trailing) };
                }
                (distance.saturating_add(16384), length, low)
            }
            32..64 => {
                let length = input.length(instruction & 31, 31)?.saturating_add(2);
                let low = input.byte()?;
                let word = low | (input.byte()? << 8);
                ((word >> 2).saturating_add(1), length, low)
            }
            _ => {
                let (length, middle) = match instruction {
                    64..128 => (((instruction >> 5) & 1).saturating_add(3), instruction >> 2 & 7),
                    _ => (((instruction >> 5) & 3).saturating_add(5), instruction >> 2 & 7),
                };
                let high = input.byte()?.saturating_mul(8);
                (high.saturating_add(middle).saturating_add(1), length, instruction)
            }
        };
        output.copy(distance, length)?;
        state = literals & 3;
        output.literals(&mut input, state)?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Fault, decompress};

    const END: [u8; 3] = [17, 0, 0];

    fn run(parts: &[&[u8]]) -> Result<Vec<u8>, Fault> {
        let mut output = vec![0; 40_000];
        let made = decompress(&parts.concat(), &mut output)?;
        output.truncate(made);
        Ok(output)
    }

    /// An instruction for 3000 literals, and these.
    fn literals() -> (Vec<u8>, Vec<u8>) {
        let literals: Vec<u8> =
            (0..3000_u16).map(|n| n.to_le_bytes()[0] ^ (n >> 5).to_le_bytes()[0]).collect();
        // 0, then 255 for each 0 byte, then the rest: 3 + 15 + 11 * 255 + 177.
        let mut instruction = vec![0; 12];
        instruction.push(177);
        (instruction, literals)
    }

    #[test]
    fn every_instruction_copies_from_its_distance() {
        let (run_of, from) = literals();
        let after = |instruction: &[u8]| {
            let made = run(&[&run_of, &from, instruction, &END]).unwrap();
            made.strip_prefix(from.as_slice()).unwrap().to_vec()
        };
        let back = |distance: usize, length: usize| {
            let copied = from.iter().cycle().skip(3000 - distance).take(length);
            copied.copied().collect::<Vec<_>>()
        };
        assert_eq!(after(&[]), b"");
        // Behind a long run: 3 bytes from 2049 on; one literal follows.
        assert_eq!(after(&[0b1000, 3]), back(2049 + 2 + 12, 3));
        assert_eq!(after(&[0b1001, 3, b'!']), [back(2063, 3), b"!".to_vec()].concat());
        // 64 to 127: 3 and 4 bytes; 128 and more: 5 to 8.
        assert_eq!(after(&[0b0100_1100, 9]), back(72 + 3 + 1, 3));
        assert_eq!(after(&[0b0110_0000, 1]), back(9, 4));
        assert_eq!(after(&[0b1000_0000, 1]), back(9, 5));
        assert_eq!(after(&[0b1111_1110, 255, 1, 2]), [back(2048, 8), vec![1, 2]].concat());
        // 32 to 63: distances to 16384, length in the instruction or behind it.
        assert_eq!(after(&[32 | 5, 0, 40]), back((40 << 6) + 1, 7));
        assert_eq!(after(&[32, 0, 3, 0, 40]).len(), 31 + 255 + 3 + 2);
        // Behind a copy with literals: 2 bytes from 1 on.
        let both = after(&[0b0100_1101, 9, b'?', 0b0100, 0]);
        assert_eq!(both, [back(76, 3), b"?".to_vec(), vec![from[2999 - 76 + 3], b'?']].concat());
    }

    #[test]
    fn a_distance_beyond_16384_is_reached() {
        // 20 000 bytes of a pattern, then 3 from 16384 + 5.
        let pattern = b"abcdefg";
        let length: u32 = 20_000 - 7;
        let mut copy = vec![32];
        copy.extend(vec![0; ((length - 33 - 1) / 255) as usize]);
        copy.push(((length - 33 - 1) % 255 + 1).to_le_bytes()[0]);
        copy.extend([6 << 2, 0]);
        let made = run(&[&[17 + 7], pattern, &copy, &[16 | 1, 5 << 2, 0], &END]).unwrap();
        assert_eq!(made.len(), 20_003);
        assert!(
            made.iter().zip(pattern.iter().cycle()).take(20_000).all(|(one, other)| one == other)
        );
        assert_eq!(made[20_000..], made[20_000 - 16_389..][..3]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let (run_of, from) = literals();
        assert_eq!(run(&[]), Err(Fault::Input));
        assert_eq!(run(&[&run_of, &from]), Err(Fault::Input));
        assert_eq!(run(&[&run_of, &from[..10]]), Err(Fault::Input));
        assert_eq!(run(&[&run_of, &from, &END, b"x"]), Err(Fault::Trailing));
        assert_eq!(run(&[&[18], b"a", &[0b0100_0100, 0], &END]), Err(Fault::Distance));
        assert_eq!(run(&[&run_of, &from, &[32], &[0; 200], &[1, 0, 40], &END]), Err(Fault::Output));
        assert_eq!(decompress(&[20, 1, 2, 3, 17, 0, 0], &mut [0; 2]), Err(Fault::Output));
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let made = decompress(&bytes, &mut [0; 4096]);
            prop_assert!(made.is_err() || made.is_ok_and(|made| made <= 4096));
        }
    }
}

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

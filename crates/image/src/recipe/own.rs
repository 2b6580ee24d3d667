//! The data of Orlop's own files, cut and compressed like a layer's.
//!
//! Small ones share fragment blocks, a larger one (labels may be megabytes) has blocks of its own.
//! Not here: their texts ([`crate::singularity_d`]).

use crate::error::Error;
use crate::options::Options;
use crate::segment::{Block, BlockList, FileData};
use crate::singularity_d::OwnFile;
use crate::workers::{BlockKind, Encoder};

/// Blocks, and where each file lies in them.
#[derive(Debug, Default)]
pub(super) struct OwnData {
    /// By number of the file.
    pub(super) files: Vec<FileData>,
    pub(super) blocks: BlockList,
    pub(super) fragments: Vec<u32>,
    /// The stored bytes of all blocks.
    pub(super) bytes: Vec<u8>,
}

/// Cuts and compresses the files in their order.
pub(super) fn encode(files: &[OwnFile], options: &Options) -> Result<OwnData, Error> {
    let block_size = usize::try_from(options.block_size).unwrap_or(usize::MAX);
    let mut own = Writer { data: OwnData::default(), encoder: Encoder::default(), options };
    let mut fragment: Vec<u8> = Vec::new();
    for file in files {
        let content = file.content.as_slice();
        let mut place = FileData { size: content.len() as u64, ..FileData::default() };
        if content.len() >= block_size {
            place.first = own.position();
            for block in content.chunks(block_size) {
                own.put(block, BlockKind::Data)?;
            }
            place.blocks = own.position().saturating_sub(place.first);
        } else if !content.is_empty() {
            if fragment.len().saturating_add(content.len()) > block_size {
                own.put(&std::mem::take(&mut fragment), BlockKind::Fragment)?;
            }
            let number = u32::try_from(own.data.fragments.len()).unwrap_or(u32::MAX);
            let offset = u32::try_from(fragment.len()).unwrap_or(u32::MAX);
            place.fragment = Some((number, offset));
            fragment.extend_from_slice(content);
        }
        own.data.files.push(place);
    }
    if !fragment.is_empty() {
        own.put(&fragment, BlockKind::Fragment)?;
    }
    Ok(own.data)
}

struct Writer<'o> {
    data: OwnData,
    encoder: Encoder,
    options: &'o Options,
}

impl Writer<'_> {
    fn position(&self) -> u32 {
        self.data.blocks.len()
    }

    fn put(&mut self, bytes: &[u8], kind: BlockKind) -> Result<(), Error> {
        let mut output = Vec::new();
        let encoded = self
            .encoder
            .encode(bytes, kind, self.options.compression, &mut output)
            .map_err(|cause| Error::Build { what: "Orlop's own files", cause: cause.into() })?;
        if kind == BlockKind::Fragment {
            self.data.fragments.push(self.position());
        }
        let offset = self.data.bytes.len() as u64;
        let (size, checksum) = (encoded.size, encoded.checksum);
        self.data.blocks.push(Block { offset, size, checksum });
        if size != 0 {
            self.data.bytes.extend_from_slice(if encoded.is_raw { bytes } else { &output });
        }
        Ok(())
    }
}

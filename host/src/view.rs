//! Typed views of buffers.

use fewbytes::linear::Activation;
use fewbytes::{Error, Result};
use half::f16;
use std::ops::Range;

/// Element type of a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// Unsigned 8-bit integers, or bytes of any kind.
    U8,
    /// Unsigned 32-bit integers.
    U32,
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
}

impl Element {
    /// Bytes of one element.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::U8 => 1,
            Self::F16 => 2,
            Self::U32 | Self::F32 => 4,
        }
    }
}

impl From<Activation> for Element {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::F32 => Self::F32,
            Activation::F16 => Self::F16,
        }
    }
}

/// Rust types that views can hold.
pub trait Scalar: bytemuck::Pod {
    /// The type's name on the device.
    const ELEMENT: Element;
}

impl Scalar for u8 {
    const ELEMENT: Element = Element::U8;
}
impl Scalar for u32 {
    const ELEMENT: Element = Element::U32;
}
impl Scalar for f16 {
    const ELEMENT: Element = Element::F16;
}
impl Scalar for f32 {
    const ELEMENT: Element = Element::F32;
}

/// A run of elements within a buffer. Cloning shares the buffer.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    buffer: wgpu::Buffer,
    offset: u64,
    len: u64,
    element: Element,
}

impl View {
    /// `len` elements from byte `offset` of a buffer that may be the caller's own.
    ///
    /// # Errors
    /// [`Error::Alignment`] when the offset is not a multiple of 4, [`Error::Shape`] when the
    /// elements, rounded up to whole words, do not lie within the buffer.
    pub fn new(buffer: &wgpu::Buffer, offset: u64, len: u64, element: Element) -> Result<Self> {
        if !offset.is_multiple_of(4) {
            let what = "offset of a view".to_owned();
            return Err(Error::Alignment { what, multiple: 4, value: offset });
        }
        let end = len
            .checked_mul(element.bytes())
            .and_then(|bytes| bytes.checked_next_multiple_of(4))
            .and_then(|bytes| bytes.checked_add(offset));
        if end.is_none_or(|end| end > buffer.size()) {
            return Err(Error::shape(
                "a view",
                format!("bytes within the buffer's {}", buffer.size()),
                format!("{len} x {} bytes from {offset}", element.bytes()),
            ));
        }
        Ok(Self { buffer: buffer.clone(), offset, len, element })
    }

    /// Some of the elements: the part of a joined layer's product, say.
    ///
    /// Any part can be read; to be bound by itself its offset has to be a multiple of the device's
    /// storage alignment, which [`crate::Plan::bind`] checks.
    ///
    /// # Errors
    /// [`Error::Shape`] when there are no such elements, [`Error::Alignment`] when the first byte
    /// is not a multiple of 4.
    pub fn slice(&self, elements: Range<usize>) -> Result<Self> {
        let (start, end) = (elements.start as u64, elements.end as u64);
        if start > end || end > self.len {
            let (expected, found) = (format!("within 0..{}", self.len), format!("{elements:?}"));
            return Err(Error::shape("elements of a slice", expected, found));
        }
        let offset = self.offset + start * self.element.bytes();
        Self::new(&self.buffer, offset, end - start, self.element)
    }

    /// The buffer.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// First byte within the buffer.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Elements.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Element type.
    pub fn element(&self) -> Element {
        self.element
    }

    /// Bytes that the elements occupy, rounded up to whole words.
    pub fn bytes(&self) -> u64 {
        (self.len * self.element.bytes()).next_multiple_of(4)
    }

    /// Checks element type and count before a kernel uses the view.
    pub(crate) fn expect(&self, what: &str, element: Element, len: usize) -> Result<()> {
        if self.element != element {
            let (expected, found) = (format!("{element:?}"), format!("{:?}", self.element));
            return Err(Error::shape(format!("elements of {what}"), expected, found));
        }
        if self.len != len as u64 {
            return Err(Error::shape(format!("length of {what}"), len, self.len));
        }
        Ok(())
    }
}

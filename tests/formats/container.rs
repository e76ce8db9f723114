//! safetensors files taken apart and put together by hand, so that they can be wrong.

use serde_json::{Map, Value, json};

/// A safetensors file as its JSON header and its body.
#[derive(Clone)]
pub(crate) struct Container {
    pub(crate) header: Value,
    pub(crate) body: Vec<u8>,
}

impl Container {
    pub(crate) fn new() -> Self {
        Self { header: Value::Object(Map::new()), body: Vec::new() }
    }

    pub(crate) fn split(bytes: &[u8]) -> Self {
        let (size, rest) = bytes.split_at(8);
        let size = u64::from_le_bytes(size.try_into().unwrap()) as usize;
        let header = serde_json::from_slice(&rest[..size]).unwrap();
        Self { header, body: rest[size..].to_vec() }
    }

    pub(crate) fn join(&self) -> Vec<u8> {
        let header = self.header.to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.into_bytes());
        bytes.extend(&self.body);
        bytes
    }

    pub(crate) fn push(&mut self, name: &str, dtype: &str, shape: &[usize], data: &[u8]) {
        let start = self.body.len();
        self.body.extend(data);
        self.header[name] =
            json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, self.body.len()] });
    }

    /// Our own metadata entry, which is JSON within a JSON string.
    pub(crate) fn entry(&self) -> Value {
        serde_json::from_str(self.header["__metadata__"]["fewbytes"].as_str().unwrap()).unwrap()
    }

    pub(crate) fn set_entry(&mut self, entry: &Value) {
        self.header["__metadata__"]["fewbytes"] = Value::String(entry.to_string());
    }

    /// The file with something changed in our metadata entry.
    pub(crate) fn with_entry(&self, change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut changed = self.clone();
        let mut entry = self.entry();
        change(&mut entry);
        changed.set_entry(&entry);
        changed.join()
    }

    /// The file with something changed in the list of tensors.
    pub(crate) fn with_header(&self, change: impl FnOnce(&mut Map<String, Value>)) -> Vec<u8> {
        let mut changed = self.clone();
        change(changed.header.as_object_mut().unwrap());
        changed.join()
    }

    /// The bytes of a tensor.
    pub(crate) fn data(&mut self, name: &str) -> &mut [u8] {
        let offsets = &self.header[name]["data_offsets"];
        let [start, end] = [0, 1].map(|i| offsets[i].as_u64().unwrap() as usize);
        &mut self.body[start..end]
    }
}

//! A table whose entries are named by handles that never name a later entry of the same place.
//!
//! Places are reused last-freed first, so that the order of entries depends on nothing but the calls made.

/// Names one entry for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle {
    pub(crate) index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Place<T> {
    generation: u32,
    value: Option<T>,
}

#[derive(Debug)]
pub(crate) struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Returns how many places there are, in use or free.
    pub(crate) fn places(&self) -> u32 {
        self.places.len() as u32
    }

    pub(crate) fn insert(&mut self, value: T) -> Handle {
        if let Some(index) = self.free.pop() {
            let place = &mut self.places[index as usize];
            place.value = Some(value);
            return Handle { index, generation: place.generation };
        }
        self.places.push(Place { generation: 0, value: Some(value) });
        Handle { index: self.places.len() as u32 - 1, generation: 0 }
    }

    pub(crate) fn get(&self, handle: Handle) -> Option<&T> {
        let place = self.places.get(handle.index as usize)?;
        place.value.as_ref().filter(|_| place.generation == handle.generation)
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut T> {
        let place = self.places.get_mut(handle.index as usize)?;
        place.value.as_mut().filter(|_| place.generation == handle.generation)
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<T> {
        let place = self.places.get_mut(handle.index as usize)?;
        if place.generation != handle.generation {
            return None;
        }
        let value = place.value.take()?;
        place.generation = place.generation.wrapping_add(1);
        self.free.push(handle.index);
        Some(value)
    }

    /// Returns the handle of the entry at a place, if it is in use.
    pub(crate) fn at(&self, index: u32) -> Option<Handle> {
        let place = self.places.get(index as usize)?;
        place.value.as_ref().map(|_| Handle { index, generation: place.generation })
    }

    /// Returns the entries by place.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.value.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_does_not_name_the_next_tenant() {
        let mut slab = Slab::new();
        let first = slab.insert("first");
        slab.remove(first);

        let second = slab.insert("second");

        assert_eq!(second.index, first.index);
        assert_eq!(slab.get(first), None);
        assert_eq!(slab.get(second), Some(&"second"));
    }
}

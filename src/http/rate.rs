//! Token buckets by key, with bounded memory: the keys that were quiet longest are forgotten first.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A rate per key.
#[derive(Debug)]
pub struct Rate<K> {
    per_second: f64,
    burst: f64,
    /// Keys per generation.
    capacity: usize,
    generations: Mutex<Generations<K>>,
}

/// A full young generation becomes the old one, and the old one is dropped.
#[derive(Debug)]
struct Generations<K> {
    young: HashMap<K, Bucket>,
    old: HashMap<K, Bucket>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl<K: Clone + Eq + Hash> Rate<K> {
    /// `count` per `window`, all of them at once if need be; remembers about `keys` keys.
    pub fn new(count: u32, window: Duration, keys: usize) -> Self {
        Self::with_burst(count, window, count, keys)
    }

    /// As [`Rate::new`], with `burst` at once.
    pub fn with_burst(count: u32, window: Duration, burst: u32, keys: usize) -> Self {
        Self {
            per_second: f64::from(count) / window.as_secs_f64(),
            burst: f64::from(burst),
            capacity: keys.div_ceil(2).max(1),
            generations: Mutex::new(Generations {
                young: HashMap::new(),
                old: HashMap::new(),
            }),
        }
    }

    /// Counts one event, or says how long to wait until one more is allowed.
    pub fn spend(&self, key: &K) -> Result<(), Duration> {
        self.spend_at(key, Instant::now())
    }

    /// Takes an event back that was counted.
    pub fn give_back(&self, key: &K) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *generations;
        if let Some(bucket) = young.get_mut(key).or_else(|| old.get_mut(key)) {
            bucket.left = (bucket.left + 1.0).min(self.burst);
        }
    }

    /// How long to wait until one more event is allowed; `None` when it is now. Counts nothing.
    pub fn wait(&self, key: &K) -> Option<Duration> {
        let now = Instant::now();
        let generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = generations.young.get(key).or_else(|| generations.old.get(key))?;
        self.missing(self.refilled(*bucket, now).left)
    }

    fn spend_at(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = generations.young.get_mut(key) {
            *bucket = self.refilled(*bucket, now);
            return self.take(bucket);
        }
        let mut bucket = match generations.old.remove(key) {
            Some(bucket) => self.refilled(bucket, now),
            None => Bucket {
                left: self.burst,
                at: now,
            },
        };
        let taken = self.take(&mut bucket);
        if generations.young.len() >= self.capacity {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(key.clone(), bucket);
        taken
    }

    fn take(&self, bucket: &mut Bucket) -> Result<(), Duration> {
        match self.missing(bucket.left) {
            Some(wait) => Err(wait),
            None => {
                bucket.left -= 1.0;
                Ok(())
            }
        }
    }

    fn refilled(&self, bucket: Bucket, now: Instant) -> Bucket {
        let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        Bucket {
            left: (bucket.left + gained).min(self.burst),
            at: now,
        }
    }

    fn missing(&self, left: f64) -> Option<Duration> {
        (left < 1.0).then(|| Duration::from_secs_f64((1.0 - left) / self.per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_rate() {
        let rate = Rate::new(60, Duration::from_secs(60), 10);
        let start = Instant::now();
        for _ in 0..60 {
            assert_eq!(rate.spend_at(&"a", start), Ok(()));
        }
        assert_eq!(rate.spend_at(&"a", start), Err(Duration::from_secs(1)));
        assert_eq!(rate.spend_at(&"b", start), Ok(()), "keys do not share");
        let later = start + Duration::from_millis(1500);
        assert_eq!(rate.spend_at(&"a", later), Ok(()));
        assert_eq!(rate.spend_at(&"a", later), Err(Duration::from_millis(500)));
    }

    #[test]
    fn memory_is_bounded_and_the_busy_are_remembered() {
        let rate = Rate::new(1, Duration::from_secs(3600), 20);
        let now = Instant::now();
        assert!(rate.spend_at(&0, now).is_ok());
        for key in 1..10_000 {
            assert!(rate.spend_at(&key, now).is_ok());
            if key % 5 == 0 {
                assert!(rate.spend_at(&0, now).is_err(), "forgotten at {key}");
            }
        }
        let generations = rate.generations.lock().unwrap();
        assert!(generations.young.len() + generations.old.len() <= 20);
    }

    #[test]
    fn waiting_counts_nothing() {
        let rate = Rate::new(1, Duration::from_secs(60), 10);
        assert_eq!(rate.wait(&"a"), None);
        assert_eq!(rate.wait(&"a"), None);
        assert!(rate.spend(&"a").is_ok());
        assert!(rate.wait(&"a").is_some());
    }
}

//! Means with their uncertainty, for small numbers of measurements.

use serde::{Deserialize, Serialize};

/// What a few measurements of one quantity say.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, with n - 1 in the denominator; 0 for a single one.
    pub deviation: f64,
    /// Lower end of the 95 % interval of the mean (Student's t). Equal to the mean for a single measurement: it says nothing.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// How many there are.
    pub count: usize,
}

impl Spread {
    /// Of `values`; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        if count == 0 {
            return None;
        }
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if count > 1 { (squares / (count - 1) as f64).sqrt() } else { 0.0 };
        let half = student(count - 1) * deviation / (count as f64).sqrt();
        Some(Self { mean, deviation, low: mean - half, high: mean + half, count })
    }

    /// Whether the interval leaves zero out: more than one measurement, and not just chance.
    pub fn is_clear(&self) -> bool {
        self.count > 1 && (self.low > 0.0 || self.high < 0.0)
    }
}

/// The 97.5 % quantile of Student's t distribution.
fn student(freedom: usize) -> f64 {
    const TABLE: [f64; 30] = [
        12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
        2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
    ];
    match freedom {
        0 => 0.0,
        // Within 0.002 of the true values from here on.
        _ => TABLE.get(freedom - 1).copied().unwrap_or(1.96 + 2.45 / freedom as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_that_of_students_t() {
        // scipy.stats.t.interval(0.95, 4, loc=3, scale=scipy.stats.sem([1, 2, 3, 4, 5])) = (1.0368, 4.9632)
        let spread = Spread::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        let spread = spread.filter(|s| (s.mean - 3.0).abs() < 1e-12 && (s.deviation - 2.5_f64.sqrt()).abs() < 1e-12);
        assert!(
            spread.is_some_and(|s| (s.low - 1.0368).abs() < 1e-3 && (s.high - 4.9632).abs() < 1e-3 && s.is_clear())
        );
        // scipy.stats.t.ppf(0.975, [31, 50, 200]) = 2.0395, 2.0086, 1.9719
        for (freedom, wanted) in [(31, 2.0395), (50, 2.0086), (200, 1.9719)] {
            assert!((student(freedom) - wanted).abs() < 0.002, "{freedom}");
        }
    }

    #[test]
    fn few_measurements_say_little() {
        assert_eq!(Spread::of(&[]), None);
        let one = Spread { mean: 2.0, deviation: 0.0, low: 2.0, high: 2.0, count: 1 };
        assert_eq!(Spread::of(&[2.0]), Some(one));
        assert!(!one.is_clear());
        assert!(Spread::of(&[-1.0, 1.2]).is_some_and(|spread| !spread.is_clear()));
    }
}

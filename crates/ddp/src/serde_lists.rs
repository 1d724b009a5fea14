//! Vectors as lists, matrices as lists of rows, numbers that are not finite as null.

use nalgebra::{DMatrix, DVector};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn read(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

pub(crate) mod number {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
        value.is_finite().then_some(value).serialize(to)
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
        Ok(read(Option::deserialize(from)?))
    }
}

pub(crate) mod numbers {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(values.iter().map(|v| v.is_finite().then_some(v)))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        let list: Vec<Option<f64>> = Vec::deserialize(from)?;
        Ok(list.into_iter().map(read).collect())
    }
}

pub(crate) mod vector {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(v: &DVector<f64>, to: S) -> Result<S::Ok, S::Error> {
        numbers::serialize(v.as_slice(), to)
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<DVector<f64>, D::Error> {
        numbers::deserialize(from).map(DVector::from_vec)
    }
}

pub(crate) mod vectors {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(v: &[DVector<f64>], to: S) -> Result<S::Ok, S::Error> {
        let list = |v: &DVector<f64>| -> Vec<_> {
            v.iter().map(|v| v.is_finite().then_some(*v)).collect()
        };
        to.collect_seq(v.iter().map(list))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<DVector<f64>>, D::Error> {
        let lists: Vec<Vec<Option<f64>>> = Vec::deserialize(from)?;
        let vector =
            |list: Vec<Option<f64>>| DVector::from_iterator(list.len(), list.into_iter().map(read));
        Ok(lists.into_iter().map(vector).collect())
    }
}

pub(crate) mod matrix {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(m: &DMatrix<f64>, to: S) -> Result<S::Ok, S::Error> {
        matrices::rows(m).serialize(to)
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<DMatrix<f64>, D::Error> {
        matrices::from_rows(&Vec::deserialize(from)?)
    }
}

pub(crate) mod matrices {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(m: &[DMatrix<f64>], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(m.iter().map(rows))
    }
    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<DMatrix<f64>>, D::Error> {
        let list: Vec<Vec<Vec<Option<f64>>>> = Vec::deserialize(from)?;
        list.iter().map(|rows| from_rows(rows)).collect()
    }

    pub(super) fn rows(m: &DMatrix<f64>) -> Vec<Vec<Option<f64>>> {
        m.row_iter().map(|row| row.iter().map(|v| v.is_finite().then_some(*v)).collect()).collect()
    }

    pub(super) fn from_rows<E: Error>(rows: &[Vec<Option<f64>>]) -> Result<DMatrix<f64>, E> {
        let columns = rows.first().map_or(0, Vec::len);
        if rows.iter().any(|row| row.len() != columns) {
            return Err(E::custom("the rows of a matrix differ in length"));
        }
        Ok(DMatrix::from_fn(rows.len(), columns, |i, j| read(rows[i][j])))
    }
}

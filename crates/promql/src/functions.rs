//! The functions of PromQL: what they take and give (Prometheus `promql/parser/functions.go`).

use crate::ast::ValueType::{self, Matrix, Scalar, String, Vector};

/// A function's signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments; of a variadic function the last one repeats.
    pub arguments: &'static [ValueType],
    /// 0: exactly `arguments`. Otherwise the last one may be left out, or be there up to this many times; negative:
    /// any number of times.
    pub variadic: i8,
    /// What it gives.
    pub returns: ValueType,
    /// Whether Prometheus has it behind a feature flag.
    pub experimental: bool,
}

/// All functions, in order of name.
pub const FUNCTIONS: &[Function] = &[
    function("abs", &[Vector], 0, Vector, false),
    function("absent", &[Vector], 0, Vector, false),
    function("absent_over_time", &[Matrix], 0, Vector, false),
    function("acos", &[Vector], 0, Vector, false),
    function("acosh", &[Vector], 0, Vector, false),
    function("asin", &[Vector], 0, Vector, false),
    function("asinh", &[Vector], 0, Vector, false),
    function("atan", &[Vector], 0, Vector, false),
    function("atanh", &[Vector], 0, Vector, false),
    function("avg_over_time", &[Matrix], 0, Vector, false),
    function("ceil", &[Vector], 0, Vector, false),
    function("changes", &[Matrix], 0, Vector, false),
    function("clamp", &[Vector, Scalar, Scalar], 0, Vector, false),
    function("clamp_max", &[Vector, Scalar], 0, Vector, false),
    function("clamp_min", &[Vector, Scalar], 0, Vector, false),
    function("cos", &[Vector], 0, Vector, false),
    function("cosh", &[Vector], 0, Vector, false),
    function("count_over_time", &[Matrix], 0, Vector, false),
    function("day_of_month", &[Vector], 1, Vector, false),
    function("day_of_week", &[Vector], 1, Vector, false),
    function("day_of_year", &[Vector], 1, Vector, false),
    function("days_in_month", &[Vector], 1, Vector, false),
    function("deg", &[Vector], 0, Vector, false),
    function("delta", &[Matrix], 0, Vector, false),
    function("deriv", &[Matrix], 0, Vector, false),
    function("double_exponential_smoothing", &[Matrix, Scalar, Scalar], 0, Vector, true),
    function("end", &[], 0, Scalar, true),
    function("exp", &[Vector], 0, Vector, false),
    function("first_over_time", &[Matrix], 0, Vector, false),
    function("floor", &[Vector], 0, Vector, false),
    function("histogram_avg", &[Vector], 0, Vector, false),
    function("histogram_count", &[Vector], 0, Vector, false),
    function("histogram_fraction", &[Scalar, Scalar, Vector], 0, Vector, false),
    function("histogram_quantile", &[Scalar, Vector], 0, Vector, false),
    function("histogram_quantiles", &[Vector, String, Scalar, Scalar], 9, Vector, true),
    function("histogram_stddev", &[Vector], 0, Vector, false),
    function("histogram_stdvar", &[Vector], 0, Vector, false),
    function("histogram_sum", &[Vector], 0, Vector, false),
    function("hour", &[Vector], 1, Vector, false),
    function("idelta", &[Matrix], 0, Vector, false),
    function("increase", &[Matrix], 0, Vector, false),
    function("info", &[Vector, Vector], 1, Vector, true),
    function("integral", &[Matrix, Scalar], 1, Vector, true),
    function("irate", &[Matrix], 0, Vector, false),
    function("label_join", &[Vector, String, String, String], -1, Vector, false),
    function("label_replace", &[Vector, String, String, String, String], 0, Vector, false),
    function("last_over_time", &[Matrix], 0, Vector, false),
    function("ln", &[Vector], 0, Vector, false),
    function("log10", &[Vector], 0, Vector, false),
    function("log2", &[Vector], 0, Vector, false),
    function("mad_over_time", &[Matrix], 0, Vector, true),
    function("max_of", &[Scalar, Scalar], 0, Scalar, true),
    function("max_over_time", &[Matrix], 0, Vector, false),
    function("min_of", &[Scalar, Scalar], 0, Scalar, true),
    function("min_over_time", &[Matrix], 0, Vector, false),
    function("minute", &[Vector], 1, Vector, false),
    function("month", &[Vector], 1, Vector, false),
    function("pi", &[], 0, Scalar, false),
    function("predict_linear", &[Matrix, Scalar], 0, Vector, false),
    function("present_over_time", &[Matrix], 0, Vector, false),
    function("quantile_over_time", &[Scalar, Matrix], 0, Vector, false),
    function("rad", &[Vector], 0, Vector, false),
    function("range", &[], 0, Scalar, true),
    function("rate", &[Matrix], 0, Vector, false),
    function("resets", &[Matrix], 0, Vector, false),
    function("round", &[Vector, Scalar], 1, Vector, false),
    function("scalar", &[Vector], 0, Scalar, false),
    function("sgn", &[Vector], 0, Vector, false),
    function("sin", &[Vector], 0, Vector, false),
    function("sinh", &[Vector], 0, Vector, false),
    function("sort", &[Vector], 0, Vector, false),
    function("sort_by_label", &[Vector, String], -1, Vector, true),
    function("sort_by_label_desc", &[Vector, String], -1, Vector, true),
    function("sort_desc", &[Vector], 0, Vector, false),
    function("sqrt", &[Vector], 0, Vector, false),
    function("start", &[], 0, Scalar, true),
    function("start_timestamp", &[Vector], 0, Vector, true),
    function("stddev_over_time", &[Matrix], 0, Vector, false),
    function("stdvar_over_time", &[Matrix], 0, Vector, false),
    function("step", &[], 0, Scalar, true),
    function("sum_over_time", &[Matrix], 0, Vector, false),
    function("tan", &[Vector], 0, Vector, false),
    function("tanh", &[Vector], 0, Vector, false),
    function("time", &[], 0, Scalar, false),
    function("timestamp", &[Vector], 0, Vector, false),
    function("ts_of_first_over_time", &[Matrix], 0, Vector, true),
    function("ts_of_last_over_time", &[Matrix], 0, Vector, true),
    function("ts_of_max_over_time", &[Matrix], 0, Vector, true),
    function("ts_of_min_over_time", &[Matrix], 0, Vector, true),
    function("vector", &[Scalar], 0, Vector, false),
    function("year", &[Vector], 1, Vector, false),
];

const fn function(
    name: &'static str,
    arguments: &'static [ValueType],
    variadic: i8,
    returns: ValueType,
    experimental: bool,
) -> Function {
    Function { name, arguments, variadic, returns, experimental }
}

/// The function of this name.
pub fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|function| function.name.cmp(name)).ok().map(|at| &FUNCTIONS[at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        for function in FUNCTIONS {
            assert_eq!(find(function.name), Some(function));
        }
        assert_eq!(find("no_such_function"), None);
    }
}

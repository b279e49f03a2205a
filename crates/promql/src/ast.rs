//! The syntax tree. Every node knows where it stands in the text.

mod print;

pub(crate) use print::format_float;

use crate::functions::Function;
use crate::matcher::Matcher;

/// A range of bytes of the expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// After the last byte.
    pub end: usize,
}

impl Span {
    /// From the start of `self` to the end of `last`.
    pub fn to(self, last: Span) -> Span {
        Span { start: self.start, end: last.end }
    }

    /// `line:column` of the start, both from 1, columns in bytes (Prometheus `posrange.StartPosInput`).
    pub fn position(self, text: &str) -> String {
        let before = &text.as_bytes()[..self.start.min(text.len())];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        format!("{line}:{}", before.len() - line_start + 1)
    }
}

/// What an expression evaluates to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number a step.
    Scalar,
    /// Samples of several series at one time.
    Vector,
    /// Samples of several series over a range of time.
    Matrix,
    /// A text.
    String,
}

impl ValueType {
    /// As the documentation calls it.
    pub fn documented(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            ValueType::String => "string",
        }
    }

    /// As the HTTP API calls it.
    pub fn name(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "vector",
            ValueType::Matrix => "matrix",
            ValueType::String => "string",
        }
    }
}

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `1.5`, `5m`
    Number(NumberLiteral),
    /// `"text"`
    String(StringLiteral),
    /// `up{job="x"} offset 5m`
    Vector(VectorSelector),
    /// `up[5m]`
    Matrix(MatrixSelector),
    /// `rate(up[5m])[1h:1m]`
    Subquery(Subquery),
    /// `sum by (job) (up)`
    Aggregate(Aggregate),
    /// `a + b`
    Binary(Binary),
    /// `-a`
    Unary(Unary),
    /// `rate(up[5m])`
    Call(Call),
    /// `(a)`
    Paren(Paren),
}

/// A number or a duration in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberLiteral {
    /// The value; seconds when it was written as a duration.
    pub value: f64,
    /// Whether it was written as a duration.
    pub is_duration: bool,
    /// Where it stands.
    pub span: Span,
}

/// A text.
#[derive(Debug, Clone, PartialEq)]
pub struct StringLiteral {
    /// Without quotes and escapes.
    pub value: String,
    /// Where it stands.
    pub span: Span,
}

/// A length of time: known, or computed once the query's step and range are.
#[derive(Debug, Clone, PartialEq)]
pub enum Length {
    /// Milliseconds.
    Millis(i64),
    /// An expression.
    Expr(Box<DurationExpr>),
}

/// An expression over durations, as in `[5m + step()]`. Values are seconds.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationExpr {
    /// A number or a duration.
    Number(NumberLiteral),
    /// `step()`: the query's step, 0 in an instant query.
    Step(Span),
    /// `range()`: from the query's start to its end.
    Range(Span),
    /// `-x`
    Negate(Box<DurationExpr>, Span),
    /// `a + b`
    Binary(DurationOp, Box<DurationExpr>, Box<DurationExpr>),
    /// `min_of(a, b)`
    MinOf(Box<DurationExpr>, Box<DurationExpr>, Span),
    /// `max_of(a, b)`
    MaxOf(Box<DurationExpr>, Box<DurationExpr>, Span),
    /// `(a)`
    Paren(Box<DurationExpr>, Span),
}

impl DurationExpr {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            DurationExpr::Number(number) => number.span,
            DurationExpr::Step(span)
            | DurationExpr::Range(span)
            | DurationExpr::Negate(_, span)
            | DurationExpr::MinOf(_, _, span)
            | DurationExpr::MaxOf(_, _, span)
            | DurationExpr::Paren(_, span) => *span,
            DurationExpr::Binary(_, left, right) => left.span().to(right.span()),
        }
    }
}

/// An operator over durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`
    Pow,
}

/// The `@` modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// `@ 1609746000`: milliseconds since the epoch.
    Millis(i64),
    /// `@ start()`
    Start,
    /// `@ end()`
    End,
}

/// How samples at the edges of a range are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Extension {
    /// Only what lies in the range.
    #[default]
    None,
    /// `anchored`: the last sample before the start counts as one at the start.
    Anchored,
    /// `smoothed`: values at both edges are interpolated.
    Smoothed,
}

/// A selector of series.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// The metric name before the braces; empty where there is none.
    pub name: String,
    /// All conditions, that of `name` (the last one) included.
    pub matchers: Vec<Matcher>,
    /// `offset`
    pub offset: Option<Length>,
    /// `@`
    pub at: Option<At>,
    /// `anchored`, `smoothed`
    pub extension: Extension,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// A selector with a range. The modifiers behind the range are those of its selector.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// What is selected.
    pub selector: VectorSelector,
    /// How much of it.
    pub range: Length,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// An expression evaluated over a range.
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Box<Expr>,
    /// How far back.
    pub range: Length,
    /// How often; absent: the evaluator's default.
    pub step: Option<Length>,
    /// `offset`
    pub offset: Option<Length>,
    /// `@`
    pub at: Option<At>,
    /// Where it stands, modifiers included.
    pub span: Span,
}

/// An aggregation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum AggregateOp {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
    Limitk,
    LimitRatio,
}

impl AggregateOp {
    /// All of them.
    pub const ALL: [AggregateOp; 14] = [
        AggregateOp::Avg,
        AggregateOp::Bottomk,
        AggregateOp::Count,
        AggregateOp::CountValues,
        AggregateOp::Group,
        AggregateOp::Max,
        AggregateOp::Min,
        AggregateOp::Quantile,
        AggregateOp::Stddev,
        AggregateOp::Stdvar,
        AggregateOp::Sum,
        AggregateOp::Topk,
        AggregateOp::Limitk,
        AggregateOp::LimitRatio,
    ];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            AggregateOp::Avg => "avg",
            AggregateOp::Bottomk => "bottomk",
            AggregateOp::Count => "count",
            AggregateOp::CountValues => "count_values",
            AggregateOp::Group => "group",
            AggregateOp::Max => "max",
            AggregateOp::Min => "min",
            AggregateOp::Quantile => "quantile",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::Sum => "sum",
            AggregateOp::Topk => "topk",
            AggregateOp::Limitk => "limitk",
            AggregateOp::LimitRatio => "limit_ratio",
        }
    }

    /// The type of its parameter, where it has one.
    pub fn parameter(self) -> Option<ValueType> {
        match self {
            AggregateOp::CountValues => Some(ValueType::String),
            AggregateOp::Bottomk
            | AggregateOp::Topk
            | AggregateOp::Quantile
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => Some(ValueType::Scalar),
            _ => None,
        }
    }

    /// Whether it gives back some of its input's series as they are.
    pub fn selects(self) -> bool {
        matches!(
            self,
            AggregateOp::Bottomk | AggregateOp::Topk | AggregateOp::Limitk | AggregateOp::LimitRatio
        )
    }
}

/// An aggregation of series.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// What is done.
    pub op: AggregateOp,
    /// To what.
    pub expr: Box<Expr>,
    /// The parameter of those that have one.
    pub parameter: Option<Box<Expr>>,
    /// The labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// Whether `grouping` is what is left out.
    pub without: bool,
    /// Where it stands.
    pub span: Span,
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    /// `</`: the part of a histogram below a bound.
    TrimUpper,
    /// `>/`: the part of a histogram above a bound.
    TrimLower,
    And,
    Or,
    Unless,
}

impl BinaryOp {
    /// As it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Equal => "==",
            BinaryOp::NotEqual => "!=",
            BinaryOp::Less => "<",
            BinaryOp::LessEqual => "<=",
            BinaryOp::Greater => ">",
            BinaryOp::GreaterEqual => ">=",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    /// Whether it compares.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }

    /// Whether it combines sets.
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// How tightly it binds; more is tighter.
    pub(crate) fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
            BinaryOp::Pow => 6,
            _ => 3,
        }
    }
}

/// How many series of one side go with how many of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Cardinality {
    /// One with one.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

/// How series of the two sides are matched.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matching {
    /// How many go with how many.
    pub cardinality: Cardinality,
    /// The labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `labels` are those that count.
    pub on: bool,
    /// Labels taken from the one side (`group_left`, `group_right`).
    pub include: Vec<String>,
    /// Value of a series that the left side lacks (`fill_left`, `fill`).
    pub fill_left: Option<f64>,
    /// Value of a series that the right side lacks (`fill_right`, `fill`).
    pub fill_right: Option<f64>,
}

/// An operation on two expressions.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// What is done.
    pub op: BinaryOp,
    /// The left side.
    pub left: Box<Expr>,
    /// The right side.
    pub right: Box<Expr>,
    /// `bool`: a comparison gives 0 or 1 and filters nothing.
    pub return_bool: bool,
    /// How series are matched; absent where a side is a scalar.
    pub matching: Option<Matching>,
    /// Where the operator stands.
    pub op_span: Span,
}

/// A sign.
#[derive(Debug, Clone, PartialEq)]
pub struct Unary {
    /// Whether the sign is `-`.
    pub negative: bool,
    /// What is signed.
    pub expr: Box<Expr>,
    /// Where it stands.
    pub span: Span,
}

/// A call of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The function.
    pub function: &'static Function,
    /// What it is given.
    pub arguments: Vec<Expr>,
    /// Where it stands.
    pub span: Span,
}

/// An expression in parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct Paren {
    /// What is inside.
    pub expr: Box<Expr>,
    /// Where it stands.
    pub span: Span,
}

impl Expr {
    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            Expr::Number(node) => node.span,
            Expr::String(node) => node.span,
            Expr::Vector(node) => node.span,
            Expr::Matrix(node) => node.span,
            Expr::Subquery(node) => node.span,
            Expr::Aggregate(node) => node.span,
            Expr::Binary(node) => node.left.span().to(node.right.span()),
            Expr::Unary(node) => node.span,
            Expr::Call(node) => node.span,
            Expr::Paren(node) => node.span,
        }
    }

    /// What it evaluates to.
    pub fn value_type(&self) -> ValueType {
        match self {
            Expr::Number(_) => ValueType::Scalar,
            Expr::String(_) => ValueType::String,
            Expr::Vector(_) | Expr::Aggregate(_) => ValueType::Vector,
            Expr::Matrix(_) | Expr::Subquery(_) => ValueType::Matrix,
            Expr::Binary(node) => {
                let scalars = node.left.value_type() == ValueType::Scalar
                    && node.right.value_type() == ValueType::Scalar;
                if scalars { ValueType::Scalar } else { ValueType::Vector }
            }
            Expr::Unary(node) => node.expr.value_type(),
            Expr::Call(node) => node.function.returns,
            Expr::Paren(node) => node.expr.value_type(),
        }
    }

    /// The expression within all parentheses around it.
    pub fn unparenthesised(&self) -> &Expr {
        let mut expr = self;
        while let Expr::Paren(paren) = expr {
            expr = &paren.expr;
        }
        expr
    }

    /// The expressions it is made of, in the order of the text. A range selector has none.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => Vec::new(),
            Expr::Subquery(node) => vec![&node.expr],
            Expr::Aggregate(node) => node.parameter.iter().map(|p| &**p).chain([&*node.expr]).collect(),
            Expr::Binary(node) => vec![&node.left, &node.right],
            Expr::Unary(node) => vec![&node.expr],
            Expr::Call(node) => node.arguments.iter().collect(),
            Expr::Paren(node) => vec![&node.expr],
        }
    }

    /// Calls `visit` for this expression and all within it, in the order of the text.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a Expr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// Every selector of series in it.
    pub fn selectors(&self) -> Vec<&VectorSelector> {
        let mut found = Vec::new();
        self.walk(&mut |expr| match expr {
            Expr::Vector(selector) => found.push(selector),
            Expr::Matrix(matrix) => found.push(&matrix.selector),
            _ => {}
        });
        found
    }
}

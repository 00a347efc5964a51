//! The grammar of label selectors: a lexer and a parser of one token of lookahead.

use super::{Operator, Requirement};
use crate::field_error::{FieldError, FieldPath};
use crate::names;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Error,
    End,
    Identifier,
    In,
    NotIn,
    Open,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    NotEquals,
    Greater,
    Less,
}

fn keyword(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "in" => Token::In,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "notin" => Token::NotIn,
        "(" => Token::Open,
        _ => return None,
    })
}

fn is_special(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn scan(text: &str) -> Vec<(Token, String)> {
    let mut tokens = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let mut i = 0;
    while i < chars.len() {
        let c = chars[i];
        if is_space(c) {
            i += 1;
        } else if is_special(c) {
            let one: String = c.to_string();
            let two: String = chars[i..chars.len().min(i + 2)].iter().collect();
            let (token, literal) = match (keyword(&two), keyword(&one)) {
                (Some(token), _) => (token, two),
                (None, Some(token)) => (token, one),
                (None, None) => (Token::Error, one),
            };
            i += literal.chars().count();
            tokens.push((token, literal));
        } else {
            let start = i;
            while i < chars.len() && !is_special(chars[i]) && !is_space(chars[i]) {
                i += 1;
            }
            let literal: String = chars[start..i].iter().collect();
            tokens.push((keyword(&literal).unwrap_or(Token::Identifier), literal));
        }
    }
    tokens.push((Token::End, String::new()));
    tokens
}

struct Parser {
    tokens: Vec<(Token, String)>,
    position: usize,
}

impl Parser {
    /// The next token where a value may stand: `in` and `notin` are plain words there.
    fn peek(&self) -> (Token, &str) {
        let (token, literal) = &self.tokens[self.position.min(self.tokens.len() - 1)];
        match token {
            Token::In | Token::NotIn => (Token::Identifier, literal),
            token => (*token, literal),
        }
    }

    fn next(&mut self) -> (Token, String) {
        let (token, literal) = self.peek();
        let taken = (token, literal.to_owned());
        self.position += 1;
        taken
    }

    fn next_operator(&mut self) -> (Token, String) {
        let taken = self.tokens[self.position.min(self.tokens.len() - 1)].clone();
        self.position += 1;
        taken
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (mut token, mut literal) = self.next();
        let absent = token == Token::Not;
        if absent {
            (token, literal) = self.next();
        }
        if token != Token::Identifier {
            return Err(format!("found '{literal}', expected: identifier"));
        }
        let key = literal;
        if let Some(reason) = names::qualified_name(&key).into_iter().next() {
            return Err(FieldError::invalid(&FieldPath::new("key"), key, reason).to_string());
        }
        if absent {
            return Ok(Requirement {
                key,
                operator: Operator::DoesNotExist,
                values: Vec::new(),
            });
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(Requirement {
                key,
                operator: Operator::Exists,
                values: Vec::new(),
            });
        }
        let (token, literal) = self.next_operator();
        let operator = match token {
            Token::In => Operator::In,
            Token::NotIn => Operator::NotIn,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::NotEquals => Operator::NotEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            _ => {
                return Err(format!(
                    "found '{literal}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        };
        let mut values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => vec![self.exact_value()?],
        };
        values.sort();
        values.dedup();
        check_values(&key, operator, &values)?;
        Ok(Requirement {
            key,
            operator,
            values,
        })
    }

    fn values(&mut self) -> Result<Vec<String>, String> {
        let (token, literal) = self.next();
        if token != Token::Open {
            return Err(format!("found '{literal}' expected: '('"));
        }
        match self.peek() {
            (Token::Close, _) => {
                self.next();
                Ok(Vec::new())
            }
            (Token::Identifier | Token::Comma, _) => self.identifiers(),
            (_, literal) => Err(format!("found '{literal}', expected: ',', ')' or identifier")),
        }
    }

    /// The values in parentheses, up to and with the closing one. An empty place is the empty value.
    fn identifiers(&mut self) -> Result<Vec<String>, String> {
        let mut values = Vec::new();
        loop {
            match self.next() {
                (Token::Identifier, literal) => {
                    values.push(literal);
                    match self.next() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, literal) => return Err(format!("found '{literal}', expected: ',' or ')'")),
                    }
                    if self.peek().0 == Token::Close {
                        self.next();
                        values.push(String::new());
                        return Ok(values);
                    }
                }
                (Token::Comma, _) => {
                    values.push(String::new());
                    if self.peek().0 == Token::Close {
                        self.next();
                        return Ok(values);
                    }
                }
                (_, literal) => return Err(format!("found '{literal}', expected: ',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<String, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next() {
            (Token::Identifier, literal) => Ok(literal),
            (_, literal) => Err(format!("found '{literal}', expected: identifier")),
        }
    }
}

fn check_values(key: &str, operator: Operator, values: &[String]) -> Result<(), String> {
    if matches!(operator, Operator::In | Operator::NotIn) && values.is_empty() {
        let text = "for 'in', 'notin' operators, values set can't be empty";
        return Err(FieldError::invalid(&FieldPath::new("values"), serde_json::json!([]), text).to_string());
    }
    if matches!(operator, Operator::GreaterThan | Operator::LessThan)
        && values.first().is_none_or(|value| value.parse::<i64>().is_err())
    {
        let text = "for 'Gt', 'Lt' operators, the value must be an integer";
        let value = values.first().cloned().unwrap_or_default();
        return Err(FieldError::invalid(&FieldPath::new("values").index(0), value, text).to_string());
    }
    for (i, value) in values.iter().enumerate() {
        if let Some(reason) = names::label_value(value).into_iter().next() {
            let path = FieldPath::new("values").index(i).key(key);
            return Err(FieldError::invalid(&path, value.as_str(), reason).to_string());
        }
    }
    Ok(())
}

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser {
        tokens: scan(text),
        position: 0,
    };
    let mut requirements = Vec::new();
    loop {
        match parser.peek() {
            (Token::End, _) => break,
            (Token::Identifier | Token::Not, _) => {}
            (_, literal) => {
                return Err(format!(
                    "found '{literal}', expected: !, identifier, or 'end of string'"
                ));
            }
        }
        let requirement = parser
            .requirement()
            .map_err(|why| format!("unable to parse requirement: {why}"))?;
        requirements.push(requirement);
        match parser.next() {
            (Token::End, _) => break,
            (Token::Comma, _) => {
                let (token, literal) = parser.peek();
                if !matches!(token, Token::Identifier | Token::Not) {
                    return Err(format!("found '{literal}', expected: identifier after ','"));
                }
            }
            (_, literal) => return Err(format!("found '{literal}', expected: ',' or 'end of string'")),
        }
    }
    // As upstream: sorted by key, so that the same selector always reads the same.
    requirements.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(requirements)
}

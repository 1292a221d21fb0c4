/**
 * Makes of a bundle's `var`s constants again. esbuild turns the top-level `const` of modules into `var`, since whatever is not compiled
 * yet runs faster so; and V8 folds only what cannot change: constants that are computed from others, tables, classes, the one object of
 * a kind. learn + forward takes 36 ns instead of 39, encapsulation 62 instead of 65, decapsulation 49 instead of 54.
 */

import { parse } from 'acorn';
import { simple } from 'acorn-walk';

/**
 * @param {string} text a module; columns of the lines that change move by two
 * @returns {string} the same, with `const` wherever all that one top-level `var` declares has a value there and never gets another
 */
export function withConstants(text) {
  const program = parse(text, { ecmaVersion: 'latest', sourceType: 'module' });
  const assigned = assignedNames(program);
  let result = '';
  let end = 0;
  for (const statement of program.body) {
    if (!isConstant(statement, assigned)) continue;
    result += `${text.slice(end, statement.start)}const`;
    end = statement.start + 'var'.length;
  }
  return result + text.slice(end);
}

function isConstant({ type, kind, declarations }, assigned) {
  if (type !== 'VariableDeclaration' || kind !== 'var') return false;
  return declarations.every(({ id, init }) => id.type === 'Identifier' && init !== null && !assigned.has(id.name));
}

/** Names that anything is assigned to, in whatever scope. */
function assignedNames(program) {
  const names = new Set();
  // Of a pattern's defaults and keys, too many rather than too few.
  const take = (target) => {
    if (target.type !== 'MemberExpression') simple(target, { Identifier: add, VariablePattern: add });
  };
  const add = ({ name }) => names.add(name);
  simple(program, {
    AssignmentExpression: ({ left }) => take(left),
    UpdateExpression: ({ argument }) => take(argument),
    ForInStatement: ({ left }) => take(left),
    ForOfStatement: ({ left }) => take(left),
  });
  return names;
}

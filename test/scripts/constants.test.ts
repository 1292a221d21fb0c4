/** scripts/constants.mjs: what of a bundle becomes constant, and what must not. */

import { resolve } from 'node:path';
import test from 'ava';

const { withConstants } = (await import(resolve('scripts/constants.mjs'))) as { withConstants(text: string): string };

test('what has a value and never gets another is a constant', (t) => {
  const body = 'a.x = 1; a[0]++; for (const item of b) f(item);';
  t.is(
    withConstants(`import x from 'x';\nvar a = [1], b = class {};\nlet c = 1;\nfunction f() { ${body} }\nvar d = a;\n`),
    `import x from 'x';\nconst a = [1], b = class {};\nlet c = 1;\nfunction f() { ${body} }\nconst d = a;\n`,
  );
});

const ASSIGNED = [
  'a = 2',
  'a += 2',
  'a ??= 2',
  'a++',
  '--a',
  '[a] = [2]',
  '({ a } = {})',
  '({ x: a = 2 } = {})',
  '[...a] = []',
  'for (a of []);',
  'for (a in {});',
  'for ([a] of []);',
];

for (const assignment of ASSIGNED) {
  test(`what is assigned to stays as it is, with all that is declared with it: ${assignment}`, (t) => {
    const text = `var a = 1, b = 2;\nfunction f() { return () => { ${assignment} } }\n`;
    t.is(withConstants(text), text);
  });
}

test('what has no value yet, comes from a pattern, or is not at the top, stays as it is', (t) => {
  const text = 'var a;\nvar { b } = {};\nfunction f() { var c = 1; }\nfor (var d = 1; ; );\n';
  t.is(withConstants(text), text);
});

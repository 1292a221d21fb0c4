// Tests are written in TypeScript and run as compiled; what else lies in dist/test are their helpers.
export default {
  // Of no test ending; the default of 10 s is too short for suites that run tools one after the other.
  timeout: '2m',
  files: ['dist/test/**/*.test.js'],
};

// Makes the lab's smtp-server demand AUTH, and know one user. Node runs it first, as NODE_OPTIONS says.
// The lab's own settings have AUTH off. INTEROP_USER and INTEROP_PASSWORD say who may.
'use strict';
const library = require('smtp-server');
const { INTEROP_USER, INTEROP_PASSWORD } = process.env;

class Demanding extends library.SMTPServer {
    constructor(options) {
        super({
            ...options,
            authOptional: false,
            disabledCommands: options.disabledCommands.filter((command) => command !== 'AUTH'),
            authMethods: ['PLAIN', 'LOGIN'],
            onAuth(auth, session, done) {
                const known = auth.username === INTEROP_USER && auth.password === INTEROP_PASSWORD;
                done(known ? null : new Error('no such user, or wrong password'), { user: auth.username });
            },
        });
    }
}
library.SMTPServer = Demanding;

#include "cli/completion.h"

#include <stdio.h>
#include <string.h>

#include "cli/arguments.h"
#include "cli/command_table.h"

const char completion_usage[] = "usage: tls-off completion bash|zsh|fish\n"
                                "\n"
                                "Prints what the shell reads to complete commands, flags and file names:\n"
                                "  bash  eval \"$(tls-off completion bash)\"\n"
                                "  zsh   tls-off completion zsh >DIR/_tls-off, with DIR in $fpath\n"
                                "  fish  tls-off completion fish | source\n"
                                "The Debian package installs all three.\n"
                                "\n"
                                "Exit status: 0 printed, 2 wrong usage.\n";

/* Names, words and help of the table hold no character that a shell takes for more than a letter, apart from blanks. */

/* ---- bash ---- */

static void bash_values(const struct command *c) {
    for (const struct command_flag *f = c->flags; f->name; f++)
        if (f->value != FLAG_ALONE)
            printf("    %s,%s) words='%s' files=%s ;;\n", c->name, f->name, f->words ? f->words : "",
                   f->value == FLAG_PATH ? "1" : "");
}

static void print_bash(void) {
    puts("_tls_off() {\n"
         "    local cur=${2-${COMP_WORDS[COMP_CWORD]}} words= files= command=${COMP_WORDS[1]} first=\n"
         "    local flag=${COMP_WORDS[COMP_CWORD - 1]}\n"
         "    [ \"$COMP_CWORD\" != 2 ] || first=1\n"
         "    if [ \"${COMP_WORDS[COMP_CWORD]}\" = = ]; then\n" /* bash parts words at it */
         "        cur=\n"
         "    elif [ \"$flag\" = = ]; then\n"
         "        flag=${COMP_WORDS[COMP_CWORD - 2]}\n"
         "    fi\n"
         "    case $([ \"$COMP_CWORD\" = 1 ] || echo \"$command,$flag\") in");
    fputs("    '') words='", stdout);
    for (size_t i = 0; i < commands_len; i++)
        printf("%s%s", i ? " " : "", commands[i].name);
    puts("' files=1 ;;");
    for (size_t i = 0; i < commands_len; i++)
        bash_values(&commands[i]);
    puts("    *)\n        case $command in");
    for (size_t i = 0; i < commands_len; i++) {
        const struct command *c = &commands[i];
        printf("        %s) words='", c->name);
        for (const struct command_flag *f = c->flags; f->name; f++)
            printf("%s ", f->name);
        fputs("--help'", stdout);
        if (c->operands->words)
            printf("${first:+' %s'}", c->operands->words);
        puts(c->operands->files ? " files=1 ;;" : " ;;");
    }
    puts("        esac\n"
         "        ;;\n"
         "    esac\n"
         "    case \" ${COMP_WORDS[*]:1:COMP_CWORD-1} \" in *' -- '*) words= ;; esac\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\"; [ -z \"$files\" ] || compgen -f -- \"$cur\")\n"
         "}\n"
         "complete -o filenames -F _tls_off tls-off");
}

/* ---- zsh ---- */

static void zsh_command(const struct command *c) {
    printf("    %s) _arguments -S", c->name);
    for (const struct command_flag *f = c->flags; f->name; f++) {
        const char *of = f->value == FLAG_PATH ? "_files" : "";
        if (f->value == FLAG_ALONE)
            printf(" %s", f->name);
        else if (f->words)
            printf(" '*%s=:value:(%s)'", f->name, f->words);
        else
            printf(" '*%s=:value:%s'", f->name, of);
    }
    fputs(" --help", stdout);
    if (c->operands->words)
        printf(" '1:word:(%s)'", c->operands->words);
    if (c->operands->files)
        fputs(" '*:file:_files'", stdout);
    puts(" ;;");
}

static void print_zsh(void) {
    puts("#compdef tls-off\n"
         "_tls-off() {\n"
         "    local -a commands\n"
         "    commands=(");
    for (size_t i = 0; i < commands_len; i++)
        printf("        '%s:%s'\n", commands[i].name, commands[i].help);
    puts("    )\n"
         "    if (( CURRENT == 2 )); then\n"
         "        _describe command commands\n"
         "        _files\n"
         "        return\n"
         "    fi\n"
         "    shift words\n"
         "    (( CURRENT-- ))\n"
         "    case $words[1] in");
    for (size_t i = 0; i < commands_len; i++)
        zsh_command(&commands[i]);
    puts("    esac\n"
         "}\n"
         "if [ \"$funcstack[1]\" = _tls-off ]; then\n"
         "    _tls-off \"$@\"\n"
         "else\n"
         "    compdef _tls-off tls-off\n"
         "fi");
}

/* ---- fish ---- */

static void fish_command(const struct command *c) {
    const char *within = "complete -c tls-off -n '__tls_off_command";
    printf("complete -c tls-off -n __fish_use_subcommand -a %s -d '%s'\n", c->name, c->help);
    for (const struct command_flag *f = c->flags; f->name; f++) {
        printf("%s %s' -l %s", within, c->name, f->name + 2);
        if (f->value == FLAG_PATH)
            fputs(" -r -F", stdout);
        else if (f->value == FLAG_TEXT)
            printf(" -x -a '%s'", f->words ? f->words : "");
        putchar('\n');
    }
    printf("%s %s' -l help\n", within, c->name);
    if (c->operands->words)
        printf("%s %s first' -a '%s'\n", within, c->name, c->operands->words);
    if (c->operands->files)
        printf("%s %s' -F\n", within, c->name);
}

static void print_fish(void) {
    puts("function __tls_off_command\n" /* NAME: within that command; first: nothing behind it yet */
         "    set -l words (commandline -opc)\n"
         "    test \"$words[2]\" = $argv[1]; and test -z \"$argv[2]\" -o (count $words) = 2\n"
         "end\n"
         "complete -c tls-off -e\n"
         "complete -c tls-off -n 'not __fish_use_subcommand' -f");
    for (size_t i = 0; i < commands_len; i++)
        fish_command(&commands[i]);
}

static const struct {
    const char *name;
    void (*print)(void);
} shells[] = {{"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}};

int cmd_completion(const struct arguments *a) {
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        if (strcmp(arguments_operand(a, 0), shells[i].name) == 0)
            shells[i].print();
    return EXIT_OK;
}

# covey-init, first process of a container that joins a warm sandbox. Linux amd64, no libc.
# It connects to the agent's socket /.covey/socket (close-on-exec), then, for each message the agent sends there (a path,
# ended by a zero byte), tries execve(path, argv + 1, envp). Success closes the socket, which tells the agent; failure
# writes the negative errno as 8 bytes and waits for the next path. When the agent hangs up it exits with 128.
    .intel_syntax noprefix
    .text
    mov rbx, rsp                    # argc, argv[0], argv[1] ..., 0, envp ...
    sub rsp, 4096                   # the buffer for a path
    mov edi, 1                      # socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)
    mov esi, 0x80001
    xor edx, edx
    mov eax, 41
    syscall
    test eax, eax
    js fail
    mov ebp, eax
    mov edi, ebp                    # connect(socket, address, 17)
    lea rsi, [rip + address]
    mov edx, 17
    mov eax, 42
    syscall
    test eax, eax
    js fail
next:
    mov edi, ebp                    # read(socket, buffer, 4096)
    mov rsi, rsp
    mov edx, 4096
    xor eax, eax
    syscall
    test rax, rax
    jle fail
    mov rdi, rsp                    # execve(buffer, &argv[1], &envp[0] = &argv[argc + 1])
    lea rsi, [rbx + 16]
    mov rax, [rbx]
    lea rdx, [rbx + rax * 8 + 16]
    mov eax, 59
    syscall
    mov [rsp], rax                  # write(socket, errno, 8)
    mov edi, ebp
    mov rsi, rsp
    mov edx, 8
    mov eax, 1
    syscall
    jmp next
fail:
    mov edi, 128                    # exit_group(128)
    mov eax, 231
    syscall
address:
    .short 1                        # struct sockaddr_un: AF_UNIX and the path
    .asciz "/.covey/socket"
